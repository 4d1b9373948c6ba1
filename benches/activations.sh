#!/bin/sh
# 1-Lipschitz denoisers that differ in their activations only: splines with adaptive knots, max(u, 0), two trained slopes, |u|.
# Trains all of them with the settings of assets/configs/denoiser.toml at two noise levels and prints PSNR on another folder.
# Usage: benches/activations.sh TRAINING_IMAGES TEST_IMAGES FOLDER
set -eu
images=$1 test=$2 out=$3
train=${KNOTWORK_TRAIN:-target/release/train}
mkdir -p "$out"
echo "activation,sigma,psnr,lipschitz_bound,parameters"
for level in 25 5; do
    sigma=$(awk "BEGIN { printf \"%.17g\", $level / 255 }")
    for activation in spline relu prelu abs; do
        name="$activation-$level"
        sed -e "s/^name = .*/name = \"$name\"/" -e "s/^activation = .*/activation = \"$activation\"/" \
            -e "s/^sigma = .*/sigma = [$sigma, $sigma]/" assets/configs/denoiser.toml > "$out/$name.toml"
        resume=
        [ ! -e "$out/$name/last.safetensors" ] || resume=--resume
        "$train" denoiser "$out/$name.toml" --images "$images" -o "$out/$name" -q $resume
        model="$out/$name/model.safetensors"
        psnr=$("$train" evaluate "$model" --images "$test" --sigma $level --json -q | sed 's/.*"mean":\[{[^}]*"psnr":\([0-9.]*\).*/\1/')
        constants=$("$train" inspect "$model" --json -q | sed 's/.*"lipschitz":\([0-9.]*\).*"parameters":\([0-9]*\).*/\1,\2/')
        echo "$activation,$level,$psnr,$constants"
    done
done
