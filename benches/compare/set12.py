"""Published WCRR and CRR on the twelve classic test images: PSNR of `reconstruct denoise` against the PyTorch code.

Needs KNOTWORK_SHARED (the folder with set12, the checkpoints and reference/set12/psnr.json) and numpy. For image i and
noise level s the noise is numpy.random.default_rng(1000 s + i).standard_normal(shape) in float32, so both programs see
the same pixels; PSNR has range 1 and no clipping. Prints one line per image, then the largest difference.

    python benches/compare/set12.py [--models wcrr,crr] [--sigmas 25,15,5] [--images 1,2,..12]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from skimage import io

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"wcrr": "WCRR-CNN", "crr": "CRR-CNN"}


def run(*arguments):
    """Runs a binary of the release build; returns the JSON object of its last line."""
    program, *rest = map(str, arguments)
    done = subprocess.run([ROOT / "target/release" / program, *rest], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None


def noisy_pair(shared, sigma, image):
    """A test image and the same with noise, both float32."""
    clean = io.imread(shared / f"set12/{image:02}.png").astype(np.float32) / np.float32(255)
    noise = np.random.default_rng(1000 * sigma + image).standard_normal(clean.shape)
    return clean, clean + np.float32(sigma / 255) * noise.astype(np.float32)


def numbers(text):
    return [int(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="wcrr,crr")
    parser.add_argument("--sigmas", type=numbers, default=[25, 15, 5])
    parser.add_argument("--images", type=numbers, default=list(range(1, 13)))
    options = parser.parse_args()
    shared = Path(os.environ["KNOTWORK_SHARED"]) / "data"
    expected = json.loads((shared / "reference/set12/psnr.json").read_text())
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in options.models.split(","):
            model = folder / f"{name}.safetensors"
            run("train", "import", shared / f"pretrained/{name}/checkpoint_6000.pth", "-o", model, "--quiet")
            for sigma in options.sigmas:
                differences = []
                for image in options.images:
                    clean, noisy = noisy_pair(shared, sigma, image)
                    np.save(folder / "clean.npy", clean)
                    np.save(folder / "noisy.npy", noisy)
                    got = run("reconstruct", "denoise", folder / "noisy.npy", "--clean", folder / "clean.npy",
                              "--sigma", f"{sigma}/255", "--model", model, "-o", folder / "out.npy", "--json", "--quiet",
                              "--solver", "accelerated")
                    want = expected[NAMES[name]][str(sigma)][f"{image:02}"]
                    differences.append(got["psnr"] - want["psnr"])
                    print(f"{name} sigma {sigma} image {image:02}: {got['psnr']:.4f} dB in {got['iterations']}, "
                          f"PyTorch {want['psnr']:.4f} in {want['iterations']}, {differences[-1]:+.4f}", flush=True)
                worst = max(worst, *map(abs, differences))
                print(f"{name} sigma {sigma}: mean difference {np.mean(differences):+.4f} dB", flush=True)
    print(f"largest difference {worst:.4f} dB")
    return worst > 0.01


if __name__ == "__main__":
    sys.exit(main())
