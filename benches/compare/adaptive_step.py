"""Would longer steps, found by backtracking, save a convex reconstruction anything? In float64, on a small image with a shipped model.

FISTA with restart (O'Donoghue and Candes 2015) at the step 1 / L, L = |H|^2 + lambda L_R, against the same from a longer step: it grows by
a tenth after every step that passes the descent lemma's test f(x') <= f(z) + <grad f(z), x' - z> + |x' - z|^2 / (2 s), and shrinks
after one that does not, with the momentum of Scheinberg, Goldfarb and Bai (2014). A gradient applies H, H', W and W'; the test applies H
and W once more, half of that: `work` counts applications in gradients. All stop at one tolerance of the projected gradient.
Usage: adaptive_step.py MODEL.safetensors
"""

import json
import struct
import sys

import numpy as np

N = 48
GROW, SHRINK = 1.1, 0.6
TYPES = {"F64": "<f8", "F32": "<f4", "U32": "<u4"}


class Model:
    """A ridge regularizer of one layer, with circular boundaries."""

    def __init__(self, path, sigma):
        data = open(path, "rb").read()
        start = 8 + struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:start])
        meta = json.loads(header.pop("__metadata__")["knotwork"])

        def array(name):
            at = header[name]
            low, high = at["data_offsets"]
            return np.frombuffer(data[start + low : start + high], TYPES[at["dtype"]]).reshape(at["shape"])

        def splines(name):
            ends = np.cumsum(array(f"{name}.counts").astype(int))
            knots, values = (np.split(array(f"{name}.{part}"), ends[:-1]) for part in ("knots", "values"))
            return list(zip(knots, values))

        filters = array("filters.0")[:, 0].astype(float)
        pad = N - filters.shape[-1]
        self.spectra = np.fft.fft2(np.pad(filters, ((0, 0), (0, pad), (0, pad))))
        self.activations = splines("activations")
        levels = [np.exp(piece(s, np.array(sigma))[0]) for s in splines("scaling")]
        self.alphas = np.array(levels)[:, None, None] / (sigma + meta["scaling_epsilon"])
        steepest = [np.max(np.diff(values) / np.diff(knots)) for knots, values in self.activations]
        self.offset = 0.0
        self.offset = self.at(np.zeros((N, N)))[0]
        self.lipschitz = np.max(np.tensordot(np.array(steepest), np.abs(self.spectra) ** 2, 1))

    def at(self, x):
        """R(x), 0 for x = 0, and its gradient."""
        responses = self.alphas * np.fft.ifft2(np.conj(self.spectra) * np.fft.fft2(x)).real
        pieces = [piece(s, u) for s, u in zip(self.activations, responses)]
        back = np.array([value for value, _ in pieces]) / self.alphas
        gradient = np.fft.ifft2((self.spectra * np.fft.fft2(back)).sum(0)).real
        return sum((p / a**2).sum() for (_, p), a in zip(pieces, self.alphas)) - self.offset, gradient


def piece(spline, x):
    """A linear spline at x, and its integral from the first knot."""
    knots, values = spline
    slopes = np.diff(values) / np.diff(knots)
    integrals = np.r_[0, np.cumsum((values[1:] + values[:-1]) / 2 * np.diff(knots))]
    n = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(slopes) - 1)
    off = x - knots[n]
    return values[n] + slopes[n] * off, integrals[n] + values[n] * off + slopes[n] * off**2 / 2


def problems(truth, draw):
    """Name, H, H', |H|^2, noise, sigma, lambda; of tomography the filter that H' H is but for the borders."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(N), np.fft.fftfreq(N), indexing="ij"))

    def multiplied(by):
        return lambda x: np.fft.ifft2(by * np.fft.fft2(x)).real

    ramp = 3 / np.sqrt(np.maximum(frequency, 0.5 / N))
    level = 0.5 * np.sqrt(np.mean(ramp**-2.0))
    yield "ct", multiplied(ramp), multiplied(ramp), np.max(ramp**2), 0.5, level, (0.5 / level) ** 2
    sampled = (draw.random((N, N)) < 0.12 + 0.3 * np.exp(-((frequency / 0.2) ** 2))) | (frequency == 0)
    yield ("mri", lambda x: sampled * np.fft.fft2(x, norm="ortho"), lambda y: np.fft.ifft2(y, norm="ortho").real, 1, 0.002, 0.1, 0.005)
    line = np.exp(-((np.arange(-4, 5) / 1.6) ** 2) / 2)
    kernel = np.zeros((N, N))
    kernel[:9, :9] = np.outer(line, line) / line.sum() ** 2
    blur = multiplied(np.fft.fft2(np.roll(kernel, (-4, -4), (0, 1))).real)
    yield "deblur", blur, blur, 1, 0.01, 0.08, 1 / 64
    mask = draw.random((N, N)) < 0.5
    yield "inpaint", lambda x: mask * x, lambda y: mask * y, 1, 0.02, 0.02, 1


def minimise(f, start, steepest, norm, tolerance, adaptive):
    """Iterations, those refused, gradients' worth of work, and the energy."""
    x, z, t, beta, step, work, refused = start, start, 1.0, 0.0, 1 / steepest, 0.0, 0
    for iterations in range(1, 5001):
        value, gradient = f(z)
        after = np.clip(z - step * gradient, 0, 1)
        moved, along = after - x, after - z
        work += 1.5 if adaptive else 1.0
        if adaptive and step > 1 / steepest:
            curvature = 2 * (f(after)[0] - value - np.sum(gradient * along)) / np.sum(along**2)
            if curvature > (1 + 1e-9) / step:
                step, refused = max(min(SHRINK * step, 0.98 / curvature), 1 / steepest), refused + 1
                continue
        left = max(np.linalg.norm(moved), np.linalg.norm(along) / (step * norm)) / np.linalg.norm(after)
        longer = step * GROW if adaptive else step
        later = 0.5 * (1 + np.sqrt(1 + 4 * step / longer * t * t))
        beta, t = (0.0, 1.0) if -np.sum(along * moved) > 0 else ((t - 1) / later, later)
        x, z, step = after, after + beta * moved, longer
        if left <= tolerance:
            break
    return iterations, refused, work, f(x)[0]


def main():
    draw = np.random.default_rng(1)
    row, col = np.mgrid[0:N, 0:N] * 64 / N
    truth = np.where(row + 0.5 * col > 64, 0.8, np.where(np.hypot(row - 25, col - 28) < 16, 0.6, 0.25))
    truth = truth + 0.05 * np.sin(col / 3) * (row > 32)
    print("problem,lambda_lipschitz,tolerance,step,iterations,refused,work,energy")
    for name, forward, adjoint, norm, noise, sigma, weight in problems(truth, draw):
        model = Model(sys.argv[1], sigma)
        y = forward(truth)
        y = y + noise * draw.standard_normal(y.shape) * (y != 0)

        def f(x):
            prior, gradient = model.at(x)
            off = forward(x) - y
            return 0.5 * np.sum(np.abs(off) ** 2) + weight * prior, adjoint(off) + weight * gradient

        steepest = norm + weight * model.lipschitz
        start = np.clip(adjoint(y) / norm, 0, 1)
        for tolerance in (1e-4, 1e-5):
            for adaptive in (False, True):
                told = minimise(f, start, steepest, norm, tolerance, adaptive)
                kind = "adaptive" if adaptive else "fixed"
                print(f"{name},{weight * model.lipschitz / norm:.2f},{tolerance},{kind},{told[0]},{told[1]},{told[2]:.0f},{told[3]:.6f}", flush=True)


main()
