#!/bin/sh
# Inverse problems on a photograph of the repository and a phantom: PSNR of the direct inversion where it is a method, of total
# variation at the best of three or four strengths (found with the truth at hand), and of the shipped model without any tuning; for the
# phantom also of the model trained on other phantoms.
# Usage: benches/photographs.sh FOLDER
set -eu
out=$1
run=${KNOTWORK_BIN:-target/release/reconstruct}
photo=assets/photos/camera.png
mkdir -p "$out"
psnr() { "$run" "$@" -o "$out/x.npy" --clean "$truth" --json -q | sed 's/.*"psnr":\([0-9.]*\).*/\1/'; }

# row NAME BASELINE LAMBDAS COMMAND...
row() {
    name=$1 baseline=$2 lambdas=$3
    shift 3
    first=-
    [ "$baseline" = - ] || first=$(psnr "$@" --method "$baseline")
    tv=0 best=0
    for lambda in $lambdas; do
        value=$(psnr "$@" --method tv --lambda "$lambda")
        if awk "BEGIN { exit !($value > $tv) }"; then tv=$value best=$lambda; fi
    done
    also=-
    [ -z "$trained" ] || also=$(psnr "$@" --model "$trained")
    echo "$name,$first,$tv,$best,$(psnr "$@"),$also"
}

echo "problem,direct,tv,tv_lambda,model,trained_on_such"
trained=
awk 'BEGIN { for (i = -4; i <= 4; i++) { for (j = -4; j <= 4; j++) printf "%d ", 255 * exp(-(i * i + j * j) / 4.5) + 0.5; print "" } }' > "$out/k.txt"
{ printf 'P2\n9 9\n255\n'; cat "$out/k.txt"; } > "$out/k.pgm"
truth=$photo
"$run" simulate deblur "$photo" --kernel "$out/k.pgm" -o "$out/b.npy" --noise 0.01 -q
row "deblur 9x9 noise 0.01" - "0.0005 0.001 0.002" deblur "$out/b.npy" --kernel "$out/k.pgm" --noise 0.01
for factor in 2 4; do
    "$run" simulate upscale "$photo" --factor $factor -o "$out/u.npy" --noise 0.01 -q
    row "upscale x$factor noise 0.01" - "0.0005 0.001 0.002" upscale "$out/u.npy" --factor $factor --noise 0.01
done
"$run" simulate inpaint "$photo" --keep 0.5 -o "$out/i.npy" --noise 0.02 -q
row "inpaint half noise 0.02" - "0.005 0.009 0.015" inpaint "$out/i.npy" --mask "$out/i.mask.npy" --sigma 0.02
"$run" simulate phantom -o "$out/phantom.npy" --seed 11 --size 256 -q
for image in "$photo" "$out/phantom.npy"; do
    truth=$image
    [ "$image" = "$photo" ] || trained=wcrr-phantom
    for case in "4 0.08 1" "8 0.04 1" "8 0.04 4"; do
        set -- $case
        "$run" simulate mri "$image" -o "$out/m.npy" --acceleration "$1" --centre-fraction "$2" --coils "$3" --noise 0.002 -q
        row "mri $(basename "$image") x$1, coils $3" zero-filled "0.0003 0.001 0.003 0.009" mri "$out/m.npy" --noise 0.002
        rm -f "$out"/m.*
    done
done
