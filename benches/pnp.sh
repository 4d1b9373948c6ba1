#!/bin/sh
# Plug-and-play with a 1-Lipschitz denoiser on phantoms: tomography (SIZE pixels, SIZE / 2 angles, 1.5 SIZE detectors, noise of 0.5)
# and MRI (one coil, 4 times accelerated, noise of 0.002). PSNR of the direct inversion, of total variation at the best of three
# strengths, found for every phantom anew with the truth at hand, of the shipped ridge regularizer without any tuning, and of
# plug-and-play, tuned coarsely on the phantom of seed 10, which is none of those of the table, and run until the fixed-point
# residual is 1e-5; ends with 1 if that is not reached on every item. Usage: benches/pnp.sh DENOISER FOLDER [SEED ...]
set -eu
denoiser=$1 out=$2
shift 2
[ $# -gt 0 ] || set -- 11 12 13
run=${KNOTWORK_BIN:-target/release/reconstruct}
size=${SIZE:-128}
mkdir -p "$out"
text() { sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }
number() { sed "s/.*\"$1\":\([-0-9.e]*\).*/\1/"; }
say() { "$run" "$@" -o "$out/x.npy" --clean "$out/t$seed.npy" --json -q; }

# simulate SEED
simulate() {
    "$run" simulate phantom -o "$out/t$1.npy" --seed "$1" --size "$size" -q
    "$run" simulate ct "$out/t$1.npy" -o "$out/ct$1.npy" --angles $((size / 2)) --detectors $((size * 3 / 2)) --noise 0.5 --seed "$1" -q
    "$run" simulate mri "$out/t$1.npy" -o "$out/mri$1.npy" --acceleration 4 --centre-fraction 0.08 --noise 0.002 --seed "$1" -q
}

# tune COMMAND NOISE ALGORITHM: the settings of the best point, unless they are there
tune() {
    printf '{"id":"%s","input":"%s10.npy","clean":"t10.npy"}\n' "$1" "$1" > "$out/$1.jsonl"
    [ -f "$out/$1-$3.toml" ] || "$run" tune --manifest "$out/$1.jsonl" -o "$out/$1-$3.toml" --until 1.8 -q -- \
        "$1" --noise "$2" --denoiser "$denoiser" --algorithm "$3" --tol 3e-4 --max-iter 200
}

# rows COMMAND NOISE BASELINE LAMBDAS
rows() {
    kind=$1 noise=$2 baseline=$3 lambdas=$4
    first=$(say "$kind" "$out/$kind$seed.npy" --method "$baseline" | number psnr)
    tv=0
    for lambda in $lambdas; do
        value=$(say "$kind" "$out/$kind$seed.npy" --method tv --lambda "$lambda" --max-iter 2000 | number psnr)
        if awk "BEGIN { exit !($value > $tv) }"; then tv=$value; fi
    done
    model=$(say "$kind" "$out/$kind$seed.npy" --noise "$noise" --max-iter 2000 | number psnr)
    for algorithm in fbs admm; do
        answer=$(say "$kind" "$out/$kind$seed.npy" --settings "$out/$kind-$algorithm.toml" --tol 1e-5 --max-iter 20000)
        stop=$(echo "$answer" | text stop)
        [ "$stop" = converged ] || failed=1
        # The last of the residuals.
        residual=$(echo "$answer" | sed 's/.*"residual":\([-0-9.e]*\)}\].*/\1/')
        told="$(echo "$answer" | number psnr),$(echo "$answer" | number iterations),$residual,$(echo "$answer" | number solve),$stop"
        echo "$kind,$seed,$first,$tv,$model,$algorithm,$told"
    done
}

failed=0
simulate 10
for algorithm in fbs admm; do
    tune ct 0.5 $algorithm
    tune mri 0.002 $algorithm
done
echo "problem,seed,direct,tv,model,algorithm,pnp,iterations,residual,seconds,stop"
for seed in "$@"; do
    simulate "$seed"
    rows ct 0.5 fbp "1 3 9"
    rows mri 0.002 zero-filled "0.0003 0.001 0.003"
done
exit $failed
