#!/bin/sh
# Reconstructions with a convex regularizer of phantoms of 128x128: iterations, energy at the end and PSNR by tolerance.
# Usage: benches/convex.sh FOLDER [SEED ...]; KNOTWORK_BIN names another program, of an earlier commit, say.
set -eu
out=$1
shift
[ $# -gt 0 ] || set -- 11
run=${KNOTWORK_BIN:-target/release/reconstruct}
mkdir -p "$out"
value() { sed -n "s/^    \"$1\": \([-0-9.e]*\).*/\1/p" "$out/x.run.json"; }
simulate() { "$run" simulate "$@" --seed "$seed" -o "$out/s.npy" -q; }
printf 'P2\n5 5\n255\n8 34 56 34 8  34 143 237 143 34  56 237 255 237 56  34 143 237 143 34  8 34 56 34 8\n' >"$out/k.pgm"
echo "seed,problem,tolerance,iterations,energy,psnr"
for seed in "$@"; do
    "$run" simulate phantom -o "$out/t.npy" --size 128 --seed "$seed" -q
    for problem in ct mri deblur inpaint; do
        case $problem in
        ct) simulate ct "$out/t.npy" --angles 60 --detectors 100 --noise 0.5 && set_to="--noise 0.5" ;;
        mri) simulate mri "$out/t.npy" --noise 0.002 && set_to="--mask $out/s.mask.npy --noise 0.002" ;;
        deblur) simulate deblur "$out/t.npy" --kernel "$out/k.pgm" --noise 0.01 && set_to="--kernel $out/k.pgm --noise 0.01" ;;
        inpaint) simulate inpaint "$out/t.npy" --noise 0.02 && set_to="--mask $out/s.mask.npy --sigma 0.02" ;;
        esac
        for tolerance in 1e-3 1e-4 1e-5 1e-6; do
            # shellcheck disable=SC2086 # several words
            "$run" $problem "$out/s.npy" $set_to --model crr-48 --tol $tolerance --max-iter 3000 --clean "$out/t.npy" -o "$out/x.npy" -q
            echo "$seed,$problem,$tolerance,$(value iterations),$(value energy),$(value psnr)"
        done
    done
done
