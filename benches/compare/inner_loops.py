"""Times inner loops beside PyTorch: an iteration of the accelerated gradient by image size, and the activation alone.

What is compared.  The same 30 iterations (one gradient of R each, nothing converges) of the published model on square images that
repeat a photograph, by processes in alternation; what the program does once behind them, an energy and a gradient, counts in its time.  The
activation is phi(alpha w) / alpha on 60 responses of 512x512, of the program the mean launch in a profile, of PyTorch the median of ten
calls behind a first one.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from side_by_side import HERE, TORCH, median, run_once

ITERATIONS = 30
ACTIVATION = """
import json, statistics, sys, time
import torch
from wcrr_torch import Regulariser, load_model
with torch.no_grad():
    activation = Regulariser(load_model(sys.argv[1]).to(torch.float32), 25.0, sys.argv[2]).activation
    w = 0.02 * torch.randn(1, 60, 512, 512)
    seconds = []
    for _ in range(11):
        start = time.perf_counter()
        activation(w)
        seconds.append(time.perf_counter() - start)
print(json.dumps({"iterations": 1, "seconds": {"solve": statistics.median(seconds[1:])}}))
"""


def write_image(path, side):
    """A noisy photograph, repeated to side x side."""
    import numpy as np
    from skimage import data

    clean = data.camera().astype(np.float32) / np.float32(255)
    times = -(-side // clean.shape[0])
    clean = np.tile(clean, (times, times))[:side, :side]
    noise = np.random.default_rng(1).standard_normal(clean.shape).astype(np.float32)
    np.save(path, clean + np.float32(25 / 255) * noise)


def commands(options, image, out):
    limits = ["--sigma", "25/255", "--tol", "1e-12", "--max-iter", str(ITERATIONS), "--json"]
    own = [options.bin, "denoise", image, "-o", out, "--model", options.model, "--solver", "accelerated", "--quiet"]
    torch = [sys.executable, str(HERE / "wcrr_torch.py"), "--checkpoint", options.checkpoint, "--image", image]
    chosen = {"knotwork": ([*own, *limits], {})}
    for name in ("torch as-shipped, tuned", "torch merged, tuned", "torch compiled, tuned"):
        variant, environment = TORCH[name]
        chosen[name] = ([*torch, "--out", out, "--variant", variant, *limits], environment)
    return chosen


def activations(options, image, out):
    """name -> milliseconds of one activation of 60 x 512 x 512."""
    profile = [options.bin, "denoise", image, "-o", out, "--model", options.model, "--solver", "accelerated", "--quiet"]
    profile += ["--sigma", "25/255", "--tol", "1e-12", "--max-iter", "10", "--json", "--profile"]
    report = json.loads(subprocess.run(profile, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    kernels = [k for k in report["profile"]["kernels"] if k["kernel"].startswith("spline_activation")]
    found = {"knotwork": sum(k["milliseconds"] for k in kernels) / sum(k["launches"] for k in kernels)}
    for name in ("torch merged, tuned", "torch compiled, tuned"):
        variant, environment = TORCH[name]
        command = [sys.executable, "-c", ACTIVATION, options.checkpoint, variant]
        found[name] = run_once(command, environment | {"PYTHONPATH": str(HERE)})["ms_per_iteration"]
    return found


def parse_arguments():
    parser = argparse.ArgumentParser(description="Time iterations by image size, and the activation, against PyTorch.")
    parser.add_argument("--checkpoint", required=True, help="published .pth, config.json beside it")
    parser.add_argument("--model", required=True, help="the same from `train import`")
    parser.add_argument("--bin", required=True, help="target/release/reconstruct")
    parser.add_argument("--side", type=int, action="append", help="rows and columns (repeatable); default 128, 256, 512, 1024")
    parser.add_argument("--rounds", type=int, default=2)
    return parser.parse_args()


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        image, out = str(Path(folder) / "noisy.npy"), str(Path(folder) / "out.npy")
        print(f"{'side':>5}  {'process':26}{'ms/iteration':>13}{'ratio':>7}{'peak MiB':>10}")
        for side in options.side or [128, 256, 512, 1024]:
            write_image(image, side)
            runs = {}
            for _ in range(options.rounds):
                for name, (command, environment) in commands(options, image, out).items():
                    runs.setdefault(name, []).append(run_once(command, environment))
            for name, own in runs.items():
                ratio = statistics.median(
                    run["ms_per_iteration"] / other["ms_per_iteration"] for run, other in zip(own, runs["knotwork"])
                )
                print(f"{side:5}  {name:26}{median(own, 'ms_per_iteration'):13.1f}{ratio:7.2f}{median(own, 'peak_rss_mib'):10.0f}", flush=True)
        write_image(image, 512)
        found = [activations(options, image, out) for _ in range(options.rounds)]
        print("activation of 60 x 512 x 512")
        for name in found[0]:
            ratio = statistics.median(times[name] / times["knotwork"] for times in found)
            print(f"{'':5}  {name:26}{statistics.median(times[name] for times in found):13.1f}{ratio:7.2f}")


if __name__ == "__main__":
    main()
