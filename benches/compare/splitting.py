"""How many iterations splitting takes, by penalty and over-relaxation, in PyTorch: the trial behind `src/solver/splitting.rs`.

Denoises a photograph of 144x144 pixels with a published model and prints the first iteration from which on the distance to the minimiser
stays below 0.03, 0.01, 0.005 and 0.002 noise levels; `-` if that takes more than 60. The minimiser is that of 1500 accelerated gradients.

    v <- v + a (W x - u),   u <- J(v),   x <- x - E' F^-1 (1 + rho S)^-1 F E (x - y + rho W'(W x - 2 u + v))

J = (id + phi / rho)^-1 per channel; a is the over-relaxation, 1 in the program; F transforms planes of 160x160, into which E puts the
image; S is the power spectrum of the filters.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from skimage import data

import wcrr_torch as wcrr

SIDE, MARGIN, SEED, MOST = 144, 8, 25, 60
DISTANCES = (3e-2, 1e-2, 5e-3, 2e-3)
PENALTIES = (1.5, 2, 2.5, 3, 3.5, 5)
RELAXATIONS = (1, 1.2, 1.4)


def spectrum(model):
    """sum_c |W_c|^2 at the frequencies of the planes."""
    impulse = torch.zeros(1, 1, 25, 25)
    impulse[0, 0, 12, 12] = 1
    for kernel in model.kernels:
        impulse = F.conv2d(impulse, kernel, padding=4)
    side = SIDE + 2 * MARGIN
    planes = F.pad(impulse[0], (0, side - impulse.shape[-1], 0, side - impulse.shape[-2]))
    return torch.fft.rfft2(planes).abs().square().sum(0)


def proximal(model, penalty, t):
    """s with s + phi(s) / penalty = t."""
    knots = model.x_min + model.step * torch.arange(len(model.cvx))
    images = knots + model.phi_nodes() / penalty
    j = (torch.searchsorted(images, t.contiguous()) - 1).clamp(0, len(knots) - 2)
    return knots[j] + (t - images[j]) / (images[j + 1] - images[j]) * model.step


def iterations(model, sigma, noisy, best, power, penalty, relaxation):
    """The first iteration below every distance, for good."""
    alpha, kernels, inverse = model.alpha(sigma), model.kernels, 1 / (1 + penalty * power)
    x, first = noisy, {}
    v = w = wcrr.analysis(x, kernels)
    for k in range(1, MOST + 1):
        if k > 1:
            v = v + relaxation * (w - u)  # noqa: F821
        u = proximal(model, penalty, v * alpha) / alpha
        gradient = x - noisy + penalty * wcrr.synthesis(w - 2 * u + v, kernels)
        planes = torch.fft.rfft2(F.pad(gradient, (MARGIN,) * 4))
        step = torch.fft.irfft2(planes * inverse, s=(SIDE + 2 * MARGIN,) * 2)
        x = x - step[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
        w = wcrr.analysis(x, kernels)
        away = ((x - best).square().mean().sqrt() / (sigma / 255)).item()
        for distance in DISTANCES:
            if away >= distance:
                first.pop(distance, None)
            else:
                first.setdefault(distance, k)
    return [first.get(distance, "-") for distance in DISTANCES]


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description="Iterations of splitting by penalty and over-relaxation.")
    parser.add_argument("--checkpoint", type=Path, required=True, help="published .pth, config.json beside it")
    parser.add_argument("--sigma", type=float, default=25, help="noise level in units of 1/255")
    options = parser.parse_args()
    model = wcrr.load_model(options.checkpoint).to(torch.float32)
    clean = data.camera()[60 : 60 + SIDE, 150 : 150 + SIDE].astype(np.float32) / 255
    noise = np.random.default_rng(SEED).standard_normal(clean.shape).astype(np.float32)
    noisy = torch.from_numpy(clean + np.float32(options.sigma / 255) * noise)[None, None]
    regulariser = wcrr.Regulariser(model, options.sigma, "merged")
    best, _, _ = wcrr.denoise(noisy, regulariser.gradient, model.mu, 1e-7, 1500)
    power = spectrum(model)
    for penalty in PENALTIES:
        for relaxation in RELAXATIONS:
            counts = iterations(model, options.sigma, noisy, best, power, penalty, relaxation)
            print(f"penalty {penalty}, relaxation {relaxation}: {', '.join(map(str, counts))}", flush=True)


if __name__ == "__main__":
    main()
