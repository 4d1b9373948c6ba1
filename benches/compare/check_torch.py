"""Checks wcrr_torch.py against the reference data, so that the benchmark times the right computation.

Usage: KNOTWORK_SHARED=/path/to/shared python check_torch.py [images, default 01 02 05]

1. Float64, one 64x64 crop, both models, sigma 5, 15, 25: gradient, W x, activation, potential, energy,
   the image at tolerance 1e-4 and its iteration count, for `as-shipped` and `merged`.
2. Float32, Set12 images, sigma 5, 15, 25: PSNR within 0.002 dB and the same iteration count as the reference.

Exits 1 if anything disagrees.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

import wcrr_torch

DATA = Path(os.environ["KNOTWORK_SHARED"]) / "data"
MODELS = {"wcrr": "WCRR-CNN", "crr": "CRR-CNN"}
SIGMAS = (5, 15, 25)
TOLERANCE = 1e-4
MAX_ITERATIONS = 300
RELATIVE_ERROR = 1e-5
PSNR_ERROR = 0.002


class Checks:
    """Prints each comparison and remembers whether one failed."""

    def __init__(self):
        self.failed = False

    def report(self, name, passed, detail):
        """One line per comparison."""
        self.failed |= not passed
        print(f"{'ok  ' if passed else 'FAIL'} {name}: {detail}")

    def close(self, name, actual, expected):
        """||actual - expected|| <= 1e-5 ||expected||."""
        actual, expected = np.squeeze(np.asarray(actual)), np.squeeze(expected)
        error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
        self.report(name, error <= RELATIVE_ERROR, f"relative error {error:.1e}")

    def within(self, name, actual, expected, slack):
        """|actual - expected| <= slack."""
        self.report(name, abs(actual - expected) <= slack, f"{actual:.4f}, expected {expected:.4f}")


def load(name):
    """Model `name` in float64, with its published normalisation."""
    return wcrr_torch.load_model(DATA / "pretrained" / name / "checkpoint_6000.pth")


def check_weights(checks, name, model, reference):
    """Splines, alpha_i(sigma) and the layers before normalisation."""
    checks.close(f"{name} phi_+", model.cvx, reference["spline_cvx_proj"])
    checks.close(f"{name} phi_-", model.ccv, reference["spline_ccv_proj"])
    checks.close(f"{name} phi", model.phi_nodes(), reference["spline_phi"])
    checks.close(f"{name} conv0", model.kernels[0], reference["conv0"])
    checks.close(f"{name} conv2/sqrt(L)", model.kernels[2], reference["conv2"] / np.sqrt(reference["L"]))
    for sigma in SIGMAS:
        checks.close(f"{name} alpha({sigma})", model.alpha(sigma), reference[f"tv_scaling_s{sigma}"])


def check_crop(checks, name, model, reference, variant):
    """The 64x64 crop in float64."""
    y = torch.from_numpy(reference["tv_noisy"])[None, None]
    checks.close(f"{name} W x", wcrr_torch.analysis(y, model.kernels), reference["tv_Wx"])
    for sigma in SIGMAS:
        label = f"{name} {variant} sigma {sigma}"
        regulariser = wcrr_torch.Regulariser(model, sigma, variant)
        checks.close(f"{label} gradient", regulariser.gradient(y), reference[f"tv_grad_s{sigma}"])
        checks.close(f"{label} energy", regulariser.energy(y), reference[f"tv_cost_s{sigma}"])
        x, iterations, _ = wcrr_torch.denoise(y, regulariser.gradient, model.mu, TOLERANCE, MAX_ITERATIONS)
        checks.close(f"{label} denoised", x, reference[f"tv_denoised_tol1e-4_s{sigma}"])
        checks.within(f"{label} iterations", iterations, int(reference[f"tv_denoised_iters_s{sigma}"]), 0)
    responses = wcrr_torch.analysis(y, model.kernels)
    checks.close(f"{label} activation", regulariser.activation(responses), reference["tv_act_s25"])
    checks.close(f"{label} potential", regulariser.potential(responses), reference["tv_potential_s25"])


def noisy_image(image, sigma):
    """(clean, noisy) of Set12 image '01'..'12' in the documented noise convention."""
    clean = wcrr_torch.read_image(DATA / "set12" / f"{image}.png")
    generator = np.random.default_rng(1000 * sigma + int(image))
    noise = generator.standard_normal(tuple(clean.shape[2:])).astype(np.float32)
    return clean, clean + torch.from_numpy(np.float32(sigma / 255) * noise)


def check_image(checks, name, model, expected, image, sigma):
    """One whole image in float32."""
    clean, noisy = noisy_image(image, sigma)
    label = f"{name} set12/{image} sigma {sigma}"
    checks.within(f"{label} noisy PSNR", wcrr_torch.psnr(noisy, clean), expected["psnr_noisy"], 1e-4)
    regulariser = wcrr_torch.Regulariser(model, sigma, "merged")
    x, iterations, _ = wcrr_torch.denoise(noisy, regulariser.gradient, model.mu, TOLERANCE, MAX_ITERATIONS)
    checks.within(f"{label} PSNR", wcrr_torch.psnr(x, clean), expected["psnr"], PSNR_ERROR)
    checks.within(f"{label} iterations", iterations, expected["iterations"], 0)


def main():
    images = sys.argv[1:] or ["01", "02", "05"]
    published = json.loads((DATA / "reference" / "set12" / "psnr.json").read_text())
    checks = Checks()
    for name, published_name in MODELS.items():
        model = load(name)
        reference = np.load(DATA / "reference" / f"{name}.npz")
        check_weights(checks, name, model, reference)
        for variant in ("as-shipped", "merged"):
            check_crop(checks, name, model, reference, variant)
        for sigma in SIGMAS:
            for image in images:
                expected = published[published_name][str(sigma)][image]
                check_image(checks, name, model.to(torch.float32), expected, image, sigma)
    sys.exit(checks.failed)


if __name__ == "__main__":
    with torch.no_grad():
        main()
