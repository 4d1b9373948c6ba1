"""The Radon transform, its transpose and filtered back projection beside scikit-image and, if it is installed, the CPU code of
the ASTRA toolbox: agreement on a phantom, then times in alternation.

512 x 512 pixels, 200 angles over the half circle, 512 detectors as wide as a pixel. scikit-image turns an image about its pixel
`size // 2` and sums columns, so that column `j` is the line `x cos theta + y sin theta = j - size // 2` with `y` upwards from
that pixel; with `circle=True` it looks at the circle about it alone. A phantom of 511 x 511 pixels behind one empty row and
column has that pixel as its middle, and the detectors of knotwork's geometry are shifted by half a pixel: the rays are the same.

    python benches/compare/radon_skimage.py [--rounds 5]

Needs numpy and scikit-image; builds and runs `cargo bench --bench radon` and `target/release/reconstruct`.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from skimage.transform import iradon, radon

try:
    import astra
except ImportError:
    astra = None

ROOT = Path(__file__).resolve().parents[2]
SIZE, ANGLES = 512, 200
DEGREES = np.arange(ANGLES) * 180 / ANGLES


def run(*arguments):
    """Runs `reconstruct`."""
    command = [ROOT / "target/release/reconstruct", *map(str, arguments), "-q"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)


# --- agreement -----------------------------------------------------------------------------------


def knotwork(folder, truth):
    """Sinogram (angle, detector) of `truth`, and its filtered back projection."""
    rows, cols = truth.shape
    # Detector j of scikit-image sees the line at j - SIZE // 2 from its centre.
    geometry = f"""rows = {rows}
cols = {cols}
pixel = 1.0
angles = {[math.radians(d) for d in DEGREES]}
detectors = {SIZE}
detector_spacing = 1.0
detector_offset = {(SIZE - 1) / 2 - SIZE // 2}
"""
    (folder / "s.geometry.toml").write_text(geometry)
    (folder / "own.toml").write_text(geometry)
    np.save(folder / "t.npy", truth)
    run("simulate", "ct", folder / "t.npy", "-o", folder / "s.npy", "--geometry", folder / "own.toml")
    run("ct", folder / "s.npy", "-o", folder / "x.npy", "--method", "fbp", "--box=-9,9")
    return np.load(folder / "s.npy"), np.load(folder / "x.npy")


def scikit_image(truth):
    """The same by scikit-image."""
    framed = np.zeros((SIZE, SIZE), np.float32)
    framed[1:, 1:] = truth
    sinogram = radon(framed, DEGREES, circle=True)
    return sinogram.T, iradon(sinogram, DEGREES, filter_name="ramp", circle=True)[1:, 1:]


def relative(a, b):
    """|a - b| / |b|."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def psnr(image, truth, inside):
    """Peak signal-to-noise ratio for values in [0, 1], within the circle that both see."""
    return float(-10 * np.log10(np.mean((image - truth)[inside] ** 2)))


def agreement(folder):
    """Prints how far the two are from each other, and how far from the truth."""
    run("simulate", "phantom", "-o", folder / "p.npy", "--size", SIZE - 1, "--seed", 11)
    truth = np.load(folder / "p.npy").astype(np.float32)
    sinogram, image = knotwork(folder, truth)
    their_sinogram, their_image = scikit_image(truth)
    y, x = np.mgrid[: SIZE - 1, : SIZE - 1] - (SIZE - 2) / 2
    inside = x**2 + y**2 < (SIZE / 2 - 2) ** 2
    print(f"sinograms: relative l2 difference {relative(sinogram, their_sinogram):.2e}")
    quality = [psnr(x, truth, inside) for x in (image, their_image)]
    difference = relative(image[inside], their_image[inside])
    print(
        f"filtered back projection: knotwork {quality[0]:.2f} dB, scikit-image {quality[1]:.2f} dB, "
        f"relative l2 difference {difference:.2e}"
    )


# --- time ----------------------------------------------------------------------------------------


def medians(repeat, *functions):
    """Median seconds of each function over `repeat` calls."""
    times = []
    for function in functions:
        function()
        own = []
        for _ in range(repeat):
            start = time.perf_counter()
            function()
            own.append(time.perf_counter() - start)
        times.append(statistics.median(own))
    return times


def time_knotwork():
    """Median seconds of forward and adjoint, kernels compiled."""
    command = ["cargo", "bench", "-q", "--locked", "--bench", "radon"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    report = next(r for r in reports if r["rays"] == "parallel")
    assert (report["size"], report["angles"], report["detectors"]) == (SIZE, ANGLES, SIZE)
    return [statistics.median(report["forward_s"]), statistics.median(report["adjoint_s"])]


def time_scikit_image(image):
    sinogram = radon(image, DEGREES, circle=True)
    return medians(
        2,
        lambda: radon(image, DEGREES, circle=True),
        lambda: iradon(sinogram, DEGREES, filter_name=None, circle=True),
    )


def time_astra(image):
    """Its CPU projector with linear interpolation, which is Joseph's method, too."""
    volume = astra.create_vol_geom(SIZE, SIZE)
    rays = astra.create_proj_geom("parallel", 1.0, SIZE, np.radians(DEGREES))
    projector = astra.create_projector("linear", rays, volume)
    images, sinograms = astra.data2d.create("-vol", volume, image), astra.data2d.create("-sino", rays, 0)

    def algorithm(kind, data):
        options = astra.astra_dict(kind)
        options |= {"ProjectorId": projector, "ProjectionDataId": sinograms} | data
        return astra.algorithm.create(options)

    forward = algorithm("FP", {"VolumeDataId": images})
    adjoint = algorithm("BP", {"ReconstructionDataId": images})
    times = medians(5, lambda: astra.algorithm.run(forward), lambda: astra.algorithm.run(adjoint))
    astra.clear()
    return times


def timing(rounds):
    """Times everything in alternation; prints medians and the medians of the rounds' ratios."""
    image = np.random.default_rng(1).standard_normal((SIZE, SIZE)).astype(np.float32)
    # scikit-image complains about values outside its circle.
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    image[x**2 + y**2 > (SIZE // 2) ** 2] = 0
    programs = {"knotwork": time_knotwork, "scikit-image": lambda: time_scikit_image(image)}
    if astra is not None:
        programs["astra CPU"] = lambda: time_astra(image)
    seconds = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            seconds[name].append(program())
    print(f"{SIZE} x {SIZE}, {ANGLES} angles, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {rounds} rounds")
    for name, times in seconds.items():
        forward, adjoint = (statistics.median(column) for column in zip(*times))
        ratio = statistics.median(sum(t) / sum(own) for t, own in zip(times, seconds["knotwork"]))
        parts = f"forward {1e3 * forward:6.0f} ms, adjoint {1e3 * adjoint:6.0f} ms"
        print(f"{name:14} {parts}, both {ratio:.2f} times knotwork's")


def main():
    parser = argparse.ArgumentParser(description="The Radon transform beside scikit-image and ASTRA.")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        agreement(Path(name))
    timing(options.rounds)


if __name__ == "__main__":
    main()
