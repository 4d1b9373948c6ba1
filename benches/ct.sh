#!/bin/sh
# Tomography at the published setting on phantoms: 512x512 pixels, 200 angles, 400 detectors, noise of 0.5, 1 and 2. PSNR of
# filtered back projection, of total variation at the best of three strengths, found for every phantom anew with the truth at
# hand, and of the model without any tuning; then of the model that was trained on phantoms of other seeds.
# Usage: benches/ct.sh FOLDER [SEED ...]
set -eu
out=$1
shift
[ $# -gt 0 ] || set -- 11 12 13
run=${KNOTWORK_BIN:-target/release/reconstruct}
mkdir -p "$out"
psnr() { "$run" ct "$out/s.npy" -o "$out/x.npy" --clean "$out/t.npy" --json -q "$@" | sed 's/.*"psnr":\([0-9.]*\).*/\1/'; }
seconds() { sed -n 's/.*"total": \([0-9.]*\).*/\1/p' "$out/x.run.json"; }
echo "noise,seed,fbp,tv,tv_lambda,model,model_seconds,trained_on_phantoms"
for noise in 0.5 1 2; do
    case $noise in
    0.5) lambdas="4 7 12" ;;
    1) lambdas="12 20 35" ;;
    2) lambdas="35 60 100" ;;
    esac
    for seed in "$@"; do
        "$run" simulate phantom -o "$out/t.npy" --seed "$seed" -q
        "$run" simulate ct "$out/t.npy" -o "$out/s.npy" --noise "$noise" --seed "$seed" -q
        fbp=$(psnr --method fbp)
        tv=0 best=0
        for lambda in $lambdas; do
            value=$(psnr --method tv --lambda "$lambda" --tol 3e-4)
            if awk "BEGIN { exit !($value > $tv) }"; then tv=$value best=$lambda; fi
        done
        model=$(psnr --noise "$noise")
        model_seconds=$(seconds)
        echo "$noise,$seed,$fbp,$tv,$best,$model,$model_seconds,$(psnr --noise "$noise" --model wcrr-phantom)"
    done
done
