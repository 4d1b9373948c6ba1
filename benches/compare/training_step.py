"""Times one training step of `train ridge` beside train_torch.py, by batch size.

What is compared.  Steps on random 40x40 patches of one folder of images, noise uniform in [1, 30]/255, from the published weights: the
program trains their 60 filters as one layer of 13x13 (10,140 multiply-adds per pixel; its solver is splitting, stopped at changes of 5e-4 noise
levels, then conjugate gradients to 1e-2), PyTorch the three layers (12,900).  Processes alternate; of each, the steps behind the first
count, which compiles.  Patches are not the same ones: iterations are printed.  `merged` has the tuned allocator.  `knotwork, few knots`
starts from the same function behind `train reduce`, which leaves the knots where its slope changes: what nonuniform knots are for.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from side_by_side import HERE, KEEP_FREED_MEMORY

CONFIG = """
name = "published"
batch = {batch}
[model]
start = "{model}"
filters = 60
size = 13
rho = 1.0
mu = 50.0
shared = true
scaling_knots = 11
[data]
sigma = [0.00392, 0.1176]
[objective]
tolerance = 5e-4
adjoint_tolerance = 1e-2
[schedule]
steps = {steps}
[validation]
every = 1000
images = 1
[adaptation]
every = 0
"""


def run(command, environment):
    """Standard output and peak memory in MiB of a process that must succeed."""
    with tempfile.TemporaryFile("w+") as stdout:
        process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL, env=os.environ | environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"exit status {process.returncode}: {' '.join(map(str, command))}")
        stdout.seek(0)
        return stdout.read(), usage.ru_maxrss / 1024


def knotwork(options, model, batch, folder):
    out = folder / f"training-{batch}"
    config = folder / "config.toml"
    config.write_text(CONFIG.format(batch=batch, model=model.resolve(), steps=options.steps))
    command = [options.bin, "ridge", config, "--images", options.images, "-o", out, "--timeout", "3000"]
    _, peak = run(command, {})
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    steps = [entry for entry in log if entry["event"] == "step"]
    shutil.rmtree(out)
    times = [entry["seconds"] for entry in steps]
    return {
        "seconds": [after - before for before, after in zip(times, times[1:])],
        "iterations": statistics.mean(entry["iterations"] for entry in steps),
        "adjoint": statistics.mean(entry["adjoint_iterations"] for entry in steps),
        "peak": peak,
    }


def pytorch(options, batch, variant, environment):
    command = [sys.executable, HERE / "train_torch.py", "--checkpoint", options.checkpoint, "--images", options.images]
    output, peak = run([*command, "--batch", str(batch), "--steps", str(options.steps), "--variant", variant], environment)
    report = json.loads(output.splitlines()[-1])
    return {
        "seconds": report["seconds"][1:],
        "iterations": report["iterations"],
        "adjoint": report["adjoint_iterations"],
        "peak": peak,
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description="Time training steps against PyTorch.")
    parser.add_argument("--checkpoint", required=True, help="published .pth, config.json beside it")
    parser.add_argument("--model", type=Path, required=True, help="the same from `train import --collapse`")
    parser.add_argument("--reduced", type=Path, required=True, help="that from `train reduce`")
    parser.add_argument("--bin", type=Path, required=True, help="target/release/train")
    parser.add_argument("--images", type=Path, required=True, help="folder of PNG images")
    parser.add_argument("--batch", type=int, action="append", help="batch size (repeatable); default 8, 32 and 128")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    return parser.parse_args()


def main():
    options = parse_arguments()
    processes = {
        "knotwork": lambda batch, folder: knotwork(options, options.model, batch, folder),
        "knotwork, few knots": lambda batch, folder: knotwork(options, options.reduced, batch, folder),
        "torch as-shipped": lambda batch, _: pytorch(options, batch, "as-shipped", {}),
        "torch as-shipped, tuned": lambda batch, _: pytorch(options, batch, "as-shipped", KEEP_FREED_MEMORY),
        "torch merged, tuned": lambda batch, _: pytorch(options, batch, "merged", KEEP_FREED_MEMORY),
    }
    print(f"{'batch':>5}  {'process':24}{'s/step':>8}{'ratio':>7}{'to few':>7}{'it':>6}{'adjoint':>9}{'peak MiB':>10}")
    with tempfile.TemporaryDirectory() as name:
        for batch in options.batch or [8, 32, 128]:
            runs = {process: [] for process in processes}
            for _ in range(options.rounds):
                for process, start in processes.items():
                    runs[process].append(start(batch, Path(name)))
            medians = {p: [statistics.median(r["seconds"]) for r in own] for p, own in runs.items()}
            for process, own in runs.items():
                ratio, few = (
                    statistics.median(a / b for a, b in zip(medians[process], medians[ours]))
                    for ours in ("knotwork", "knotwork, few knots")
                )
                last = own[-1]
                print(
                    f"{batch:5}  {process:24}{statistics.median(medians[process]):8.2f}{ratio:7.2f}{few:7.2f}{last['iterations']:6.1f}"
                    f"{last['adjoint']:9.1f}{max(r['peak'] for r in own):10.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
