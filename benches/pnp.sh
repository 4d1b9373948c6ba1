#!/bin/sh
# Plug-and-play with a 1-Lipschitz denoiser on phantoms: tomography (SIZE pixels, SIZE / 2 angles, 1.5 SIZE detectors, noise of 0.5)
# and MRI (one coil, 4 times accelerated, noise 0.002). PSNR of the direct inversion, of total variation at the best of three
# strengths, of the shipped ridge regularizer without tuning, and of plug-and-play with forward-backward and ADMM, each at the best of
# four strengths on the FIRST item; iterations and the last fixed-point residual, which must be 1e-5 on every item.
# Usage: benches/pnp.sh DENOISER FOLDER [SEED ...]
set -eu
denoiser=$1 out=$2
shift 2
[ $# -gt 0 ] || set -- 11 12 13
run=${KNOTWORK_BIN:-target/release/reconstruct}
size=${SIZE:-128}
mkdir -p "$out"
field() { sed "s/.*\"$1\":\"\{0,1\}\([a-z0-9.e-]*\).*/\1/"; }
say() { "$run" "$@" -o "$out/x.npy" --clean "$out/t.npy" --json -q; }
larger() { awk "BEGIN { exit !($1 > $2) }"; }
failed=0

# row NAME SEED BASELINE LAMBDAS COMMAND...
row() {
    name=$1 seed=$2 baseline=$3 lambdas=$4
    shift 4
    first=$(say "$@" --method "$baseline" | field psnr)
    tv=0
    for lambda in $lambdas; do
        value=$(say "$@" --method tv --lambda "$lambda" --max-iter 1000 | field psnr)
        if larger "$value" "$tv"; then tv=$value; fi
    done
    model=$(say "$@" --max-iter 1000 | field psnr)
    for algorithm in fbs admm; do
        # The strength that is best on the first item serves for all of its kind.
        eval "best=\${best_${name}:-}"
        if [ -z "$best" ]; then
            top=0
            for strength in ${STRENGTHS:-0.03 0.1 0.3 1}; do
                value=$(say "$@" --denoiser "$denoiser" --strength "$strength" --tol 1e-4 --max-iter 1000 | field psnr)
                if larger "$value" "$top"; then top=$value best=$strength; fi
            done
            eval "best_${name}=$best"
        fi
        answer=$(say "$@" --denoiser "$denoiser" --algorithm $algorithm --strength "$best" --tol 1e-5 --max-iter 20000)
        stop=$(echo "$answer" | field stop)
        [ "$stop" = converged ] || failed=1
        residual=$(echo "$answer" | sed 's/.*"residual":\([0-9.e-]*\)}\].*/\1/')
        echo "$name,$seed,$first,$tv,$model,$algorithm,$best,$(echo "$answer" | field psnr),$(echo "$answer" | field iterations),$residual,$(echo "$answer" | field solve),$stop"
    done
}

echo "problem,seed,direct,tv,model,algorithm,strength,pnp,iterations,residual,seconds,stop"
for seed in "$@"; do
    "$run" simulate phantom -o "$out/t.npy" --seed "$seed" --size "$size" -q
    "$run" simulate ct "$out/t.npy" -o "$out/s.npy" --angles $((size / 2)) --detectors $((size * 3 / 2)) --noise 0.5 --seed "$seed" -q
    row ct "$seed" fbp "1 3 9" ct "$out/s.npy" --noise 0.5
    "$run" simulate mri "$out/t.npy" -o "$out/k.npy" --acceleration 4 --centre-fraction 0.08 --noise 0.002 --seed "$seed" -q
    row mri "$seed" zero-filled "0.0003 0.001 0.003" mri "$out/k.npy" --noise 0.002
done
exit $failed
