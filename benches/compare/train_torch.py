"""Plain PyTorch baseline for one training step of a (W)CRR denoiser, for comparison with `train ridge`.

What is compared.  A batch of 40x40 patches c of a folder of images, noisy y = c + sigma n with sigma uniform in [1, 30]/255, is
denoised to the minimisers x* of 1/2 |x - y|^2 + R(x, sigma), all of them at once, and the loss mean |x* - c|_1 is differentiated with
respect to all parameters (three layers of filters, nodal values of the activation, scalings) by the implicit function theorem:

    (I + Hess R(x*)) q = -dL/dx*,      dL/dtheta = d/dtheta <q, grad R(x*; theta)>.

`as-shipped` does the published amount of work: accelerated gradient with restart, patch by patch frozen at relative change 1e-4, two splines per
response, and Anderson's method (five differences) down to a relative residual of 1e-3 for the adjoint.  `merged` is what a PyTorch user gets by
optimising: one spline, and conjugate gradients down to 1e-2.  Both start from the published weights, so that iterations are as
many as in a training.  One Adam step follows.  Reading images is not timed.

No line of the published code, which carries no licence, was used.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from wcrr_torch import SIGMA_EPS, analysis, load_model, read_image, spline, synthesis

PATCH = 40
MOST_ITERATIONS = 200
MOST_ADJOINT = 50


def sample(images, batch, generator):
    """(clean, noisy, sigma in 1/255) of `batch` random patches."""
    clean = np.empty((batch, 1, PATCH, PATCH), np.float32)
    for patch in clean:
        image = images[generator.integers(len(images))]
        top, left = (generator.integers(n - PATCH + 1) for n in image.shape)
        patch[0] = image[top : top + PATCH, left : left + PATCH]
    sigma = generator.uniform(1, 30, (batch, 1, 1, 1)).astype(np.float32)
    noisy = clean + sigma / 255 * generator.standard_normal(clean.shape).astype(np.float32)
    return torch.from_numpy(clean), torch.from_numpy(noisy), torch.from_numpy(sigma)


class Trainable:
    """The parameters of a published model, and grad R and products with its Hessian for patches of different noise."""

    def __init__(self, model, two_splines):
        self.model = model
        self.kernels = [k.clone().requires_grad_() for k in model.kernels]
        nodes = [model.cvx, model.ccv] if two_splines else [model.phi_nodes()]
        self.factors = [model.mu, -model.rho] if two_splines else [1.0]
        self.nodes = [n.clone().requires_grad_() for n in nodes]
        self.scaling = model.scaling.clone().requires_grad_()

    def parameters(self):
        return [*self.kernels, *self.nodes, self.scaling]

    def alpha(self, sigma):
        """exp(s_i(sigma)) / (sigma + eps) of every patch, (batch, 60, 1, 1)."""
        spacing = self.model.sigma_max / (self.scaling.shape[1] - 1)
        j = (sigma.flatten() / spacing).floor().clamp(0, self.scaling.shape[1] - 2).long()
        u = sigma.flatten() / spacing - j
        s = (1 - u) * self.scaling[:, j] + u * self.scaling[:, j + 1]
        return (s.exp() / (sigma.flatten() + SIGMA_EPS)).t()[:, :, None, None]

    def gradient(self, x, alpha):
        t = alpha * analysis(x, self.kernels)
        phi = sum(f * spline(t, n, self.model.x_min, self.model.step) for f, n in zip(self.factors, self.nodes))
        return synthesis(phi / alpha, self.kernels)

    def slopes(self, x, alpha):
        """phi'(alpha W x)."""
        position = (alpha * analysis(x, self.kernels) - self.model.x_min) / self.model.step
        j = position.floor().clamp(0, len(self.nodes[0]) - 2).long()
        return sum(f * n.diff()[j] / self.model.step for f, n in zip(self.factors, self.nodes))

    def hessian(self, slopes, v):
        return synthesis(slopes * analysis(v, self.kernels), self.kernels)


def norms(x):
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def minimise(y, gradient, step, tolerance):
    """Accelerated gradient with restart; patches that are done are left out.  Returns (x, iterations per patch)."""
    result, iterations = y.clone(), torch.zeros(len(y))
    left = torch.arange(len(y))
    x = z = y
    t = torch.ones(len(y), 1, 1, 1)
    for iteration in range(1, MOST_ITERATIONS + 1):
        g = (z - y[left] + gradient(z, left)) * step
        x_old, x = x, z - g
        change = x - x_old
        t_old, t = t, (1 + (1 + 4 * t * t) ** 0.5) / 2
        z = x + (t_old - 1) / t * change
        restart = (g * change).flatten(1).sum(1) > 0
        z[restart], t[restart] = x[restart], 1.0
        done = norms(change) < tolerance * norms(x)
        result[left], iterations[left] = x, float(iteration)
        if done.all():
            break
        if done.any():
            left, x, z, t = left[~done], x[~done], z[~done], t[~done]
    return result, iterations


def conjugate_gradients(product, b, tolerance):
    """(I + H) q = b patch by patch.  Returns (q, iterations)."""
    q, r = torch.zeros_like(b), b.clone()
    p, square = r.clone(), norms(r) ** 2
    goal = (tolerance * norms(b)) ** 2
    for iteration in range(1, MOST_ADJOINT + 1):
        h = p + product(p)
        a = square / (p * h).flatten(1).sum(1).clamp_min(1e-30)
        q = q + a[:, None, None, None] * p
        r = r - a[:, None, None, None] * h
        before, square = square, norms(r) ** 2
        if (square <= goal).all():
            break
        p = r + (square / before.clamp_min(1e-30))[:, None, None, None] * p
    return q, iteration


def anderson(product, b, step, tolerance, memory=5):
    """The fixed point of q <- q - step ((I + H) q - b) by Anderson's method on each patch.  Returns (q, iterations)."""
    shape = b.shape
    move = lambda q: q - step * (q + product(q) - b)  # noqa: E731
    xs, fs = [b.flatten(1)], [move(b).flatten(1)]
    for iteration in range(1, MOST_ADJOINT + 1):
        residuals = torch.stack([f - x for x, f in zip(xs, fs)], 1)
        gram = residuals @ residuals.transpose(1, 2)
        gram = gram + 1e-4 * torch.eye(gram.shape[1], dtype=gram.dtype) * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        weights = torch.linalg.solve(gram, gram.new_ones(*gram.shape[:2], 1))
        weights = weights / weights.sum(1, keepdim=True)
        x = (weights * torch.stack(fs, 1)).sum(1)
        f = move(x.view(shape)).flatten(1)
        xs, fs = [*xs[1 - memory :], x], [*fs[1 - memory :], f]
        if torch.linalg.vector_norm(f - x) < tolerance * torch.linalg.vector_norm(f):
            break
    return f.view(shape), iteration


def train_step(trainable, optimiser, batch, published):
    """One step; returns mean iterations of both solvers and the loss."""
    clean, noisy, sigma = batch
    largest = 1 + trainable.model.mu
    with torch.no_grad():
        alpha = trainable.alpha(sigma)
        x, iterations = minimise(noisy, lambda z, left: trainable.gradient(z, alpha[left]), 1 / largest, 1e-4)
        loss = (x - clean).abs().mean()
        pull = -(x - clean).sign() / clean.numel()
        slopes = trainable.slopes(x, alpha)
        product = lambda v: trainable.hessian(slopes, v)  # noqa: E731
        if published:
            q, adjoint = anderson(product, pull, 1 / largest, 1e-3)
        else:
            q, adjoint = conjugate_gradients(product, pull, 1e-2)
    optimiser.zero_grad()
    (q * trainable.gradient(x, trainable.alpha(sigma))).sum().backward()
    optimiser.step()
    return iterations.mean().item(), adjoint, loss.item()


def parse_arguments():
    parser = argparse.ArgumentParser(description="Training steps of a (W)CRR denoiser in PyTorch on the CPU.")
    parser.add_argument("--checkpoint", type=Path, required=True, help="published .pth, config.json beside it")
    parser.add_argument("--images", type=Path, required=True, help="folder of PNG images")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--variant", choices=("as-shipped", "merged"), default="merged")
    return parser.parse_args()


def main():
    options = parse_arguments()
    images = [read_image(p)[0, 0].numpy() for p in sorted(options.images.glob("*.png"))]
    if not images:
        sys.exit(f"no PNG in {options.images}")
    published = options.variant == "as-shipped"
    trainable = Trainable(load_model(options.checkpoint).to(torch.float32), published)
    optimiser = torch.optim.Adam(trainable.parameters(), 1e-5)
    generator = np.random.default_rng(1)
    seconds, last = [], None
    for _ in range(options.steps):
        batch = sample(images, options.batch, generator)
        start = time.perf_counter()
        last = train_step(trainable, optimiser, batch, published)
        seconds.append(time.perf_counter() - start)
    iterations, adjoint, loss = last
    print(json.dumps({
        "seconds": seconds,
        "iterations": iterations,
        "adjoint_iterations": adjoint,
        "loss": loss,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))


if __name__ == "__main__":
    main()
