"""Plain PyTorch baseline for the (W)CRR denoiser, for comparison with `knotwork`.

What is compared.  One noisy image y is denoised by minimising

    E(x) = 1/2 ||x - y||^2 + R(x, sigma),
    R(x, sigma) = sum_i sum_pixels psi(alpha_i(sigma) (W x)_i) / alpha_i(sigma)^2,

with the published weights (arXiv 2308.10542, and its convex variant) and the published solver:
accelerated gradient, gradient restart, step 1/(1 + e^mu), stop at relative change 1e-4.

    grad R(x) = W^T [ phi(alpha W x) / alpha ],      phi = psi' = e^mu phi_+ - rho phi_-,

W: layered 5x5 convolutions 1 -> 4 -> 8 -> 60, zero padded at every layer, divided by the square root
of a fixed spectral norm.  phi_+, phi_-: linear splines on 101 uniform knots over [-0.1, 0.1].

Why it is fair.  `as-shipped` does the work the published code does per gradient: layered conv2d,
two separate spline evaluations (clamp, floor, gather), layered conv_transpose2d; everything that
depends only on the weights or on sigma (zero mean, spectral norm, slope clipping, alpha) is computed
once, before the clock of the solve starts.  It runs with gradients off, so nothing is kept for a
backward pass.  `merged` evaluates one spline with the summed nodal values, and `compiled` passes
that through torch.compile: they are what a PyTorch user gets by optimising the same model without
changing its result.  `compiled` is warmed up on the image before the solve is timed; the time of
the warm-up is reported as `compile` and is part of `total`.

No line of the published code, which carries no licence, was used.
"""

import time

START = time.perf_counter()  # before the slow imports, which count in `total`

import argparse  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

SPECTRAL_NORM = {1: 396.04205322265625, 0: 302.9828796386719}
"""||W^T W|| before normalisation, by rho: 1 is WCRR, 0 is CRR (power method, 256x256)."""

SIGMA_EPS = 1e-5
KERNEL_PADDING = 2
VARIANTS = ("as-shipped", "merged", "compiled")


# --- weights -----------------------------------------------------------------------------------


def clipped_nodes(raw, step, slope_min, slope_max):
    """Nodal values of phi_+ or phi_- from the raw coefficients c_0..c_100.

    s_n = clip((c_{n+1} - c_n)/step, slope_min, slope_max), first and last slope set to 0;
    p_0 = 0, p_{n+1} = p_n + step s_n;  result (p_n - p_{100-n})/2, odd by construction.
    """
    slopes = (raw.diff() / step).clamp(slope_min, slope_max)
    slopes[0] = slopes[-1] = 0
    nodes = torch.cat([raw.new_zeros(1), (step * slopes).cumsum(0)])
    return (nodes - nodes.flip(0)) / 2


@dataclass
class Model:
    """Everything that does not depend on the image or on sigma."""

    kernels: list  # three layers; the last one carries the division by sqrt(spectral norm)
    cvx: torch.Tensor  # nodal values of phi_+
    ccv: torch.Tensor  # nodal values of phi_-
    x_min: float
    x_max: float
    mu: float  # e^{mu_}, the slope bound of phi
    rho: float
    scaling: torch.Tensor  # (60, 11) nodal values of s_i on sigma in [0, sigma_max]
    sigma_max: float

    @property
    def step(self):
        """Knot spacing of the activation splines."""
        return (self.x_max - self.x_min) / (len(self.cvx) - 1)

    def phi_nodes(self):
        """Nodal values of phi = e^mu phi_+ - rho phi_-."""
        return self.mu * self.cvx - self.rho * self.ccv

    def alpha(self, sigma):
        """alpha_i(sigma) = exp(s_i(sigma)) / (sigma + 1e-5), sigma in units of 1/255.

        s_i is linear between the knots k sigma_max/10, k = 0..10, and is extended linearly
        beyond them.  Shape (1, 60, 1, 1).
        """
        spacing = self.sigma_max / (self.scaling.shape[1] - 1)
        j = int(min(max(sigma, 0), self.sigma_max - spacing) // spacing)
        u = sigma / spacing - j
        s = (1 - u) * self.scaling[:, j] + u * self.scaling[:, j + 1]
        return (s.exp() / (sigma + SIGMA_EPS)).view(1, -1, 1, 1)

    def to(self, dtype):
        """The same model in another precision (converted after the clipping in float64)."""
        return replace(
            self,
            kernels=[k.to(dtype) for k in self.kernels],
            cvx=self.cvx.to(dtype),
            ccv=self.ccv.to(dtype),
            scaling=self.scaling.to(dtype),
        )


def load_model(checkpoint, spectral_norm=None):
    """Reads checkpoint and the config.json beside it; returns the Model in float64.

    Kernels: the first layer has the mean of each 5x5 filter removed, the others are used as stored;
    the composition is divided by sqrt(spectral_norm).
    """
    config = json.loads(Path(checkpoint).with_name("config.json").read_text())
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    weights = {name: value.double() for name, value in stored.items()}
    spline, rho = config["spline_activation"], config["rho_wcvx"]
    step = (spline["x_max"] - spline["x_min"]) / (spline["num_knots"] - 1)
    first = weights["conv_layer.conv_layers.0.parametrizations.weight.original"]
    last = weights["conv_layer.conv_layers.2.weight"]
    nodes = {
        name: clipped_nodes(
            weights[f"activation_{name}.coefficients"][0], step, spline["slope_min"], spline["slope_max"]
        )
        for name in ("cvx", "ccv")
    }
    return Model(
        kernels=[
            first - first.mean(dim=(1, 2, 3), keepdim=True),
            weights["conv_layer.conv_layers.1.weight"],
            last / (spectral_norm or SPECTRAL_NORM[rho]) ** 0.5,
        ],
        cvx=nodes["cvx"],
        ccv=nodes["ccv"],
        x_min=spline["x_min"],
        x_max=spline["x_max"],
        mu=weights["mu_"].exp().item(),
        rho=rho,
        scaling=weights["spline_scaling.coefficients"],
        sigma_max=config["spline_scaling"]["x_max"],
    )


# --- regulariser -------------------------------------------------------------------------------


def analysis(x, kernels):
    """W x: three zero-padded convolutions, (1, 1, H, W) -> (1, 60, H, W)."""
    for kernel in kernels:
        x = F.conv2d(x, kernel, padding=KERNEL_PADDING)
    return x


def synthesis(v, kernels):
    """W^T v, the exact adjoint of `analysis`."""
    for kernel in reversed(kernels):
        v = F.conv_transpose2d(v, kernel, padding=KERNEL_PADDING)
    return v


def spline(t, nodes, x_min, step):
    """Linear spline through `nodes` on the knots x_min + j step, extended linearly.

    j = clamp(floor((t - x_min)/step), 0, N-2), u = (t - x_min)/step - j, (1-u) c_j + u c_{j+1}.
    The index is clamped rather than t: in float32, t clamped to the last but one knot may fall just
    below it, and the spline would go on with the slope of the wrong bin.
    """
    position = (t - x_min) / step
    j = position.floor().clamp(0, len(nodes) - 2)
    u = position - j
    j = j.long()
    return (1 - u) * nodes[j] + u * nodes[j + 1]


def spline_integral(t, nodes, x_min, step):
    """Antiderivative of `spline` that vanishes at 0: P_j + c_j d + (c_{j+1} - c_j) d^2/(2 step)."""

    def integral(points):
        j = ((points - x_min) / step).floor().clamp(0, len(nodes) - 2).long()
        d = points - (x_min + step * j)
        return primitive[j] + nodes[j] * d + (nodes[j + 1] - nodes[j]) * d**2 / (2 * step)

    areas = step * (nodes[1:] + nodes[:-1]) / 2
    primitive = torch.cat([nodes.new_zeros(1), areas.cumsum(0)])
    return integral(t) - integral(torch.zeros_like(t[..., :1]))


class Regulariser:
    """R(., sigma) of a Model at one noise level, evaluated in one of the VARIANTS."""

    def __init__(self, model, sigma, variant):
        self.model = model
        self.scale = model.alpha(sigma)
        self.nodes = model.phi_nodes()
        self.activation = self.activation_two_splines if variant == "as-shipped" else self.activation_merged
        if variant == "compiled":
            self.activation = torch.compile(self.activation, dynamic=False)

    def activation_two_splines(self, w):
        """phi(alpha w)/alpha from one evaluation of phi_+ and one of phi_-."""
        m, t = self.model, w * self.scale
        phi = m.mu * spline(t, m.cvx, m.x_min, m.step)
        if m.rho:
            phi = phi - m.rho * spline(t, m.ccv, m.x_min, m.step)
        return phi / self.scale

    def activation_merged(self, w):
        """phi(alpha w)/alpha from one evaluation of phi."""
        m = self.model
        return spline(w * self.scale, self.nodes, m.x_min, m.step) / self.scale

    def potential(self, w):
        """psi(alpha w)/alpha^2 per channel and pixel."""
        psi = spline_integral(w * self.scale, self.nodes, self.model.x_min, self.model.step)
        return psi / self.scale**2

    def energy(self, x):
        """R(x) = sum_i sum_pixels psi(alpha_i (W x)_i) / alpha_i^2."""
        return self.potential(analysis(x, self.model.kernels)).sum()

    def gradient(self, x):
        """grad R(x) = W^T [ phi(alpha W x)/alpha ]."""
        return synthesis(self.activation(analysis(x, self.model.kernels)), self.model.kernels)


# --- solver ------------------------------------------------------------------------------------


def denoise(y, gradient_of_r, mu, tol, max_iter):
    """Accelerated gradient with gradient restart; returns (x, gradients used, converged).

        x_0 = z_0 = y, t_0 = 1;  for k = 0, 1, ...
        g       = (z_k - y + grad R(z_k)) / (1 + mu)
        x_{k+1} = z_k - g
        t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2
        z_{k+1} = x_{k+1} + (t_k - 1)/t_{k+1} (x_{k+1} - x_k)
        if <g, x_{k+1} - x_k> > 0:  z_{k+1} = x_{k+1}, t_{k+1} = 1
        stop with x_{k+1} if ||x_{k+1} - x_k|| < tol ||x_{k+1}||
    """
    step = 1 / (1 + mu)
    x = z = y
    t = 1.0
    for iteration in range(1, max_iter + 1):
        gradient = (z - y + gradient_of_r(z)) * step
        x_old, x = x, z - gradient
        change = x - x_old
        t_old, t = t, (1 + (1 + 4 * t * t) ** 0.5) / 2
        z = x + (t_old - 1) / t * change
        if torch.sum(gradient * change) > 0:
            z, t = x, 1.0
        if torch.linalg.vector_norm(change) < tol * torch.linalg.vector_norm(x):
            return x, iteration, True
    return x, max_iter, False


# --- command line ------------------------------------------------------------------------------


class Stopwatch:
    """Calls a function and adds up the time spent in it."""

    def __init__(self, function):
        self.function = function
        self.seconds = 0.0

    def __call__(self, *arguments):
        start = time.perf_counter()
        result = self.function(*arguments)
        self.seconds += time.perf_counter() - start
        return result


def read_image(path):
    """A .npy array as it is, or an 8-bit grayscale image divided by 255, as (1, 1, H, W) float32."""
    if path.suffix == ".npy":
        pixels = np.load(path)
    else:
        from skimage.io import imread

        pixels = imread(path, as_gray=True) / 255
    return torch.from_numpy(pixels.astype(np.float32))[None, None]


def psnr(x, clean):
    """10 log10(1/mean (x - clean)^2): range 1, nothing clipped."""
    return -10 * (x - clean).double().square().mean().log10().item()


def noise_level(text):
    """'25/255' or '0.098' -> sigma in units of 1/255."""
    numerator, _, denominator = text.partition("/")
    return 255 * float(numerator) / float(denominator or 1)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description="(W)CRR denoising in PyTorch on the CPU.")
    parser.add_argument("--checkpoint", type=Path, required=True, help="published .pth, config.json beside it")
    parser.add_argument("--image", type=Path, required=True, help="noisy image, .npy in [0, 1] or 8-bit file")
    parser.add_argument("--clean", type=Path, help="clean image, for the PSNR")
    parser.add_argument("--sigma", type=noise_level, required=True, help="noise level in [0, 1] units, e.g. 25/255")
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--max-iter", type=int, default=300)
    parser.add_argument("--variant", choices=VARIANTS, default="as-shipped")
    parser.add_argument("--spectral-norm", type=float, help="||W^T W|| to divide by; default: the published value")
    parser.add_argument("--out", type=Path, help="write the result as float32 .npy")
    parser.add_argument("--json", action="store_true", help="print one JSON line instead of a sentence")
    return parser.parse_args(arguments)


def solve(options):
    """Runs the whole job and returns what is printed."""
    clock = [START, time.perf_counter()]
    noisy = read_image(options.image)
    clean = read_image(options.clean) if options.clean else None
    model = load_model(options.checkpoint, options.spectral_norm).to(torch.float32)
    clock.append(time.perf_counter())
    regulariser = Regulariser(model, options.sigma, options.variant)
    gradient = Stopwatch(regulariser.gradient)
    if options.variant == "compiled":
        regulariser.gradient(noisy)
    clock.append(time.perf_counter())
    x, iterations, converged = denoise(noisy, gradient, model.mu, options.tol, options.max_iter)
    clock.append(time.perf_counter())
    if options.out:
        np.save(options.out, x[0, 0].numpy())
    clock.append(time.perf_counter())
    imports, read, compilation, solving, written = np.diff(clock).tolist()
    return {
        "variant": options.variant,
        "output": str(options.out) if options.out else None,
        "psnr": psnr(x, clean) if options.clean else None,
        "iterations": iterations,
        "stop": "tolerance" if converged else "max_iter",
        "seconds": {
            "import": imports,
            "io": read + written,
            "compile": compilation,
            "solve": solving,
            "total": clock[-1] - START,
        },
        "per_iteration_ms": 1e3 * solving / iterations,
        "per_gradient_ms": 1e3 * gradient.seconds / iterations,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def main():
    options = parse_arguments(sys.argv[1:])
    with torch.no_grad():
        report = solve(options)
    if options.json:
        print(json.dumps(report))
    else:
        print(
            f"{report['variant']}: {report['iterations']} iterations ({report['stop']}), "
            f"{report['seconds']['solve']:.2f} s, PSNR {report['psnr']}"
        )


if __name__ == "__main__":
    main()
