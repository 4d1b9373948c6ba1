"""Times `reconstruct denoise` and the PyTorch baselines of wcrr_torch.py on one noisy image.

What is compared.  Whole processes, started one after the other in alternation for several rounds, so that
a change in the load of the machine hits all of them; nothing is pinned.  Every process reads the same
481x321 float32 .npy file, uses the same weights, sigma and tolerance, and writes its result:

    knotwork                  the binary given by --bin (left out without it), as users run it: by splitting, with its own stopping rule
    knotwork, accelerated     the same with the published iteration and tolerance
    torch as-shipped          the published amount of work per gradient, default allocator
    torch as-shipped, tuned   the same with glibc's malloc told to keep freed memory
    torch merged, tuned       one spline table instead of two
    torch compiled            the merged table under torch.compile, default allocator
    torch compiled, tuned     the same, tuned allocator

Why it is fair.  The default allocator gives freed memory back to the system and faults it in again for
every temporary, which costs PyTorch more than the arithmetic; a user can switch that off, so the tuned
rows are the ones to compare with.  `total` is the wall time of the process seen from outside, start-up,
imports, model loading and compilation included; `solve` and `ms/it` come from the process itself and
leave all that out.  Compiled kernels and shaders are cached on disk by torch and by the driver: `first`
is the total of the first round, which pays for an empty cache if there was one.  Ratios are medians of
ratios within a round.  `cpu s` is user plus system time of the process and its children: on a shared
machine it moves less than the wall time, and a large gap between the two says that a round was disturbed.
PSNR is computed here from the files written, with the same formula for all;
`rms to ref` is the root mean square distance of the two results.

Peak memory is ru_maxrss of os.wait4.  Linux starts that count at the size of the parent, so numpy and
scikit-image are only imported in a helper process.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEEP_FREED_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 28),
}
KNOTWORK = "knotwork"
ACCELERATED = "knotwork, accelerated"
TORCH = {
    "torch as-shipped": ("as-shipped", {}),
    "torch as-shipped, tuned": ("as-shipped", KEEP_FREED_MEMORY),
    "torch merged, tuned": ("merged", KEEP_FREED_MEMORY),
    "torch compiled": ("compiled", {}),
    "torch compiled, tuned": ("compiled", KEEP_FREED_MEMORY),
}
HEIGHT, WIDTH = 321, 481
TOP, LEFT = 60, 16
SEED = 25


# --- run in a helper process ---------------------------------------------------------------------


def write_images(folder, sigma):
    """clean.npy, a crop of the camera image in [0, 1], and noisy.npy = clean + sigma * N(0, 1)."""
    import numpy as np
    from skimage import data

    crop = data.camera()[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
    clean = crop.astype(np.float32) / np.float32(255)
    noise = np.random.default_rng(SEED).standard_normal(clean.shape).astype(np.float32)
    np.save(folder / "clean.npy", clean)
    np.save(folder / "noisy.npy", clean + np.float32(sigma) * noise)


def rms_distance(first, second):
    """sqrt(mean (first - second)^2) of two .npy files."""
    import numpy as np

    return float(np.sqrt(np.mean((np.load(first).astype(np.float64) - np.load(second)) ** 2)))


def psnr(result, clean):
    """20 log10(1/rms): range 1, nothing clipped."""
    import math

    return -20 * math.log10(rms_distance(result, clean))


# --- processes -----------------------------------------------------------------------------------


def commands(options, folder):
    """name -> (command line, environment) of every process to time; each writes `output_of(name)`."""
    noisy = str(folder / "noisy.npy")
    limits = ["--sigma", options.sigma, "--tol", str(options.tol)]
    chosen = {}
    if options.bin:
        for name, solver in {KNOTWORK: limits[:2], ACCELERATED: [*limits, "--solver", "accelerated"]}.items():
            chosen[name] = (
                [options.bin, "denoise", noisy, "-o", output_of(folder, name), *solver]
                + ["--model", options.model or options.checkpoint, "--json", "--quiet"],
                {},
            )
    for name, (variant, environment) in TORCH.items():
        chosen[name] = (
            [sys.executable, str(HERE / "wcrr_torch.py"), "--checkpoint", options.checkpoint, "--image", noisy]
            + ["--out", output_of(folder, name), "--variant", variant, "--json", *limits],
            environment,
        )
    return {name: run for name, run in chosen.items() if not options.only or name in options.only}


def output_of(folder, name):
    """Path of the image written by process `name`."""
    return str(folder / (name.replace(",", "").replace(" ", "-") + ".npy"))


def run_once(command, environment):
    """Runs one process to its end; returns its own report, its wall time and its peak memory."""
    with tempfile.TemporaryFile("w+") as stdout:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=stdout, env=os.environ | environment)
        _, status, usage = os.wait4(process.pid, 0)
        total = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"exit status {process.returncode}: {' '.join(command)}")
        stdout.seek(0)
        report = json.loads(stdout.read().splitlines()[-1])
    return {
        "total_s": total,
        "solve_s": report["seconds"]["solve"],
        "ms_per_iteration": 1e3 * report["seconds"]["solve"] / report["iterations"],
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_rss_mib": usage.ru_maxrss / 1024,
        "iterations": report["iterations"],
        "report": report,
    }


def alternate(processes, rounds):
    """name -> list of `run_once` results, one per round."""
    runs = {name: [] for name in processes}
    for round_number in range(rounds):
        for name, (command, environment) in processes.items():
            runs[name].append(run_once(command, environment))
            print(f"round {round_number + 1}: {name} {runs[name][-1]['total_s']:.2f} s", file=sys.stderr)
    return runs


# --- report --------------------------------------------------------------------------------------


def median(runs, key):
    """Median of one quantity over the rounds."""
    return statistics.median(run[key] for run in runs)


def median_ratio(runs, reference, key):
    """Median over the rounds of the ratio to the reference in the same round."""
    return statistics.median(run[key] / other[key] for run, other in zip(runs, reference))


def summarise(runs, folder, reference, helper):
    """name -> row of the table."""
    clean, reference_output = folder / "clean.npy", output_of(folder, reference)
    reference_psnr = helper.apply(psnr, (reference_output, clean))
    rows = {}
    for name, own in runs.items():
        quality = helper.apply(psnr, (output_of(folder, name), clean))
        rows[name] = {
            "total s": median(own, "total_s"),
            "first": own[0]["total_s"],
            "ratio": median_ratio(own, runs[reference], "total_s"),
            "cpu s": median(own, "cpu_s"),
            "solve s": median(own, "solve_s"),
            "ms/it": median(own, "ms_per_iteration"),
            "ratio/it": median_ratio(own, runs[reference], "ms_per_iteration"),
            "it": own[0]["iterations"],
            "PSNR": quality,
            "to ref dB": quality - reference_psnr,
            "rms to ref": helper.apply(rms_distance, (output_of(folder, name), reference_output)),
            "peak MiB": median(own, "peak_rss_mib"),
        }
    return rows


FORMATS = {"it": "d", "PSNR": ".4f", "to ref dB": "+.4f", "rms to ref": ".1e", "ms/it": ".1f", "peak MiB": ".0f"}


def print_table(rows):
    """Aligned text, one line per process."""
    cells = [["process", *next(iter(rows.values()))]]
    cells += [[name, *(f"{v:{FORMATS.get(k, '.2f')}}" for k, v in row.items())] for name, row in rows.items()]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for first, *rest in cells:
        print("  ".join([first.ljust(widths[0])] + [c.rjust(w) for c, w in zip(rest, widths[1:])]))


# --- regressions ---------------------------------------------------------------------------------


SLOWER = 1.25
"""Ratios of shared machines scatter by less than this factor between calm runs of five rounds."""


def store(rows, path):
    """Keeps how many times longer than `knotwork` every process takes."""
    own = rows[KNOTWORK]["ratio"]
    ratios = {name: round(row["ratio"] / own, 3) for name, row in rows.items() if name != KNOTWORK}
    path.write_text(json.dumps({"total time over that of knotwork": ratios}, indent=1) + "\n")


def regressions(rows, path):
    """Prints the stored ratios beside the new ones; the processes against which `knotwork` got slower by more than SLOWER."""
    stored = json.loads(path.read_text())["total time over that of knotwork"]
    own = rows[KNOTWORK]["ratio"]
    slower = []
    for name, before in stored.items():
        if name in rows:
            now = rows[name]["ratio"] / own
            print(f"{name}: {now:.2f} times the time of knotwork, stored {before:.2f}")
            if now * SLOWER < before:
                slower.append(name)
    return slower


def parse_arguments():
    parser = argparse.ArgumentParser(description="Time `reconstruct denoise` against PyTorch.")
    parser.add_argument("--checkpoint", required=True, help="published .pth, config.json beside it")
    parser.add_argument("--bin", help="target/release/reconstruct")
    parser.add_argument("--model", help="--model of the binary; default: the checkpoint")
    parser.add_argument("--sigma", default="25/255")
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", help="time only this process (repeatable)")
    parser.add_argument("--reference", help="process the ratios refer to; default: the first one")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--store", type=Path, help="write the ratios to this file")
    parser.add_argument("--check", type=Path, help="compare with the ratios in this file; exit status 1 if slower")
    return parser.parse_args()


def main():
    options = parse_arguments()
    numerator, _, denominator = options.sigma.partition("/")
    with tempfile.TemporaryDirectory() as name, multiprocessing.get_context("spawn").Pool(1) as helper:
        folder = Path(name)
        helper.apply(write_images, (folder, float(numerator) / float(denominator or 1)))
        processes = commands(options, folder)
        reference = options.reference or next(iter(processes))
        runs = alternate(processes, options.rounds)
        rows = summarise(runs, folder, reference, helper)
    machine = {"machine": platform.platform(), "cpus": os.cpu_count(), "load": os.getloadavg()}
    print(f"{WIDTH}x{HEIGHT}, sigma {options.sigma}, tol {options.tol}, {options.rounds} rounds, ref: {reference}")
    print_table(rows)
    if options.json:
        document = machine | {"reference": reference, "options": vars(options), "table": rows, "runs": runs}
        options.json.write_text(json.dumps(document, indent=1, default=str) + "\n")
    slower = regressions(rows, options.check) if options.check else []
    if options.store:
        store(rows, options.store)
    if slower:
        sys.exit(f"slower than stored, against: {'; '.join(slower)}")


if __name__ == "__main__":
    main()
