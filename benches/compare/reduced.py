"""A published model before and after `train reduce`, on the twelve classic test images: PSNR of `reconstruct denoise`.

Needs KNOTWORK_SHARED (the folder with set12 and the checkpoints), numpy and scikit-image. Noise as in set12.py. Prints
the numbers of knots, one line per image, then the largest difference; fails if more than 8 knots are left or the PSNR of
an image changes by 0.005 dB or more.

    python benches/compare/reduced.py [--model wcrr|crr] [--sigma 25] [--images 1,2,..12] [reduce options, e.g. --max-error 1e-2]
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from set12 import noisy_pair, numbers, run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="wcrr")
    parser.add_argument("--sigma", type=int, default=25)
    parser.add_argument("--images", type=numbers, default=list(range(1, 13)))
    options, reduce_options = parser.parse_known_args()
    shared = Path(os.environ["KNOTWORK_SHARED"]) / "data"
    differences = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        full, reduced = folder / "full.safetensors", folder / "reduced.safetensors"
        run("train", "import", shared / f"pretrained/{options.model}/checkpoint_6000.pth", "-o", full, "--quiet")
        report = run("train", "reduce", full, "-o", reduced, "--json", "--quiet", *reduce_options)
        print(f"{options.model}: {report['most_knots_before']} knots -> {report['most_knots_after']}, "
              f"rms error {report['rms_error']:.1e} of the largest value", flush=True)
        for image in options.images:
            clean, noisy = noisy_pair(shared, options.sigma, image)
            np.save(folder / "clean.npy", clean)
            np.save(folder / "noisy.npy", noisy)
            before, after = (
                run("reconstruct", "denoise", folder / "noisy.npy", "--clean", folder / "clean.npy", "--sigma",
                    f"{options.sigma}/255", "--model", model, "-o", folder / "out.npy", "--json", "--quiet")
                for model in (full, reduced))
            differences.append(after["psnr"] - before["psnr"])
            print(f"sigma {options.sigma} image {image:02}: {before['psnr']:.5f} dB in {before['iterations']} -> "
                  f"{after['psnr']:.5f} dB in {after['iterations']}, {differences[-1]:+.6f}", flush=True)
    worst = max(map(abs, differences))
    print(f"largest difference {worst:.6f} dB")
    return worst >= 0.005 or report["most_knots_after"] > 8


if __name__ == "__main__":
    sys.exit(main())
