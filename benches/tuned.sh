#!/bin/sh
# Deblurring, up-scaling and inpainting of test images by total variation and by the default model, both tuned by `reconstruct tune`
# on the same few training images, one setting per problem: mean PSNR of each, the least gain of the model over total variation, in how
# many images it gains, and how many runs did not converge. Of test images the central SIDE x SIDE pixels count, of training images
# half as many a side, cut to multiples of 12. The model's grid ends at ratios of UNTIL, the one weight's of total variation at 1.2.
# Goes on where it was stopped; settings that were found stay, so a folder is for one SIDE, ITEMS and UNTIL.
# Usage: [SIDE=144] [ITEMS=5] [UNTIL=1.5] [PROBLEMS="..."] [MODEL=NAME] benches/tuned.sh TRAINING_IMAGES TEST_IMAGES FOLDER
set -eu
export LC_ALL=C
training=$1 test=$2 out=$3
run=${KNOTWORK_BIN:-target/release/reconstruct}
side=${SIDE:-144}
items=${ITEMS:-5}
model=${MODEL:-}
# Command, what is special about it, noise.
problems=${PROBLEMS:-deblur,kernel,0.01 deblur,kernel,0.03 upscale,2,0.01 upscale,3,0.01 upscale,4,0.01 inpaint,0.5,0.02}
mkdir -p "$out"
number() { sed -n "s/.*\"$1\":\([-0-9.e]*\).*/\1/p"; }
setting() { sed -n "s/^$1 = //p" "$2"; }

# cut IMAGE SIDE OUTPUT.pgm: the middle of an image. A blur by one pixel makes an NPY array of it.
cut() {
    printf 'P2\n1 1\n255\n255\n' > "$out/one.pgm"
    "$run" simulate deblur "$1" --kernel "$out/one.pgm" -o "$out/whole.npy" -q
    length=$(od -An -tu2 -j8 -N2 "$out/whole.npy" | tr -d ' ')
    shape=$(head -c $((10 + length)) "$out/whole.npy" | sed -n 's/.*(\([0-9]*\), *\([0-9]*\)).*/\1 \2/p')
    od -An -v -tf4 -j$((10 + length)) "$out/whole.npy" | awk -v shape="$shape" -v side="$2" '
        function kept(n) { return 12 * int((n < side ? n : side) / 12) }
        BEGIN {
            split(shape, size, " "); rows = kept(size[1]); cols = kept(size[2])
            top = int((size[1] - rows) / 2); left = int((size[2] - cols) / 2)
            printf "P2\n%d %d\n255\n", cols, rows
        }
        { for (i = 1; i <= NF; i++) {
            row = int(n / size[2]) - top; col = n % size[2] - left; n++
            if (row >= 0 && row < rows && col >= 0 && col < cols) print int(255 * $i + 0.5)
        } }' > "$3.part"
    mv "$3.part" "$3"
}

# measure NAME COMMAND SPECIAL NOISE TRUTHS...: measurements of all, and their manifest
measure() {
    list=$out/$1.jsonl command=$2 special=$3 noise=$4
    shift 4
    [ ! -f "$list" ] || return 0
    seed=0
    for truth in "$@"; do
        seed=$((seed + 1))
        id=$(basename "$truth" .pgm)
        y=$(basename "$list" .jsonl)-$id
        also=
        case $command in
        deblur) set -- --kernel "$out/$special.pgm" ;;
        upscale) set -- --factor "$special" ;;
        inpaint) set -- --keep "$special"; also=",\"mask\":\"$y.mask.npy\"" ;;
        esac
        "$run" simulate "$command" "$truth" "$@" --noise "$noise" --seed "$seed" -o "$out/$y.npy" -q
        echo "{\"id\":\"$id\",\"input\":\"$y.npy\",\"clean\":\"$(basename "$truth")\"$also}"
    done > "$list.part"
    mv "$list.part" "$list"
}

# Truths: a few of the training images, evenly spread, and all test images.
count=$(find "$training" -name '*.png' | wc -l)
find "$training" -name '*.png' | sort | awk -v all="$count" -v want="$items" '
    int((NR - 0.5) * want / all + 0.5) > int((NR - 1.5) * want / all + 0.5)' > "$out/training.txt"
find "$test" -name '*.png' | sort > "$out/test.txt"
for part in training test; do
    pixels=$side
    [ $part = test ] || pixels=$((side / 2))
    while read -r image; do
        truth=$out/$part-$(basename "$image" .png).pgm
        [ -f "$truth" ] || cut "$image" "$pixels" "$truth"
    done < "$out/$part.txt"
done
# A Gaussian with a standard deviation of 1.5 pixels.
{ printf 'P2\n9 9\n255\n'; awk 'BEGIN { for (i = -4; i <= 4; i++) { for (j = -4; j <= 4; j++) printf "%d ", 255 * exp(-(i * i + j * j) / 4.5) + 0.5; print "" } }'; } > "$out/kernel.pgm"

echo "problem,tv,tv_lambda,model,model_lambda,model_sigma,difference,least_difference,model_ahead,tv_not_converged,model_not_converged,tv_iterations,model_iterations"
for problem in $problems; do
    name=$(echo "$problem" | tr , -)
    command=${problem%%,*} noise=${problem##*,} special=${problem#*,}
    special=${special%,*}
    measure "$name-training" "$command" "$special" "$noise" "$out"/training-*.pgm
    measure "$name-test" "$command" "$special" "$noise" "$out"/test-*.pgm
    for method in tv model; do
        set -- "$command"
        case $command in
        deblur) set -- "$@" --kernel "$out/$special.pgm" ;;
        upscale) set -- "$@" --factor "$special" ;;
        esac
        set -- "$@" --max-iter 5000
        found=$out/$name-$method until=${UNTIL:-1.5}
        chosen="--method $method"
        if [ $method = tv ]; then
            until=1.2
        elif [ -n "$model" ]; then
            found=$found-$(basename "$model") chosen="--model $model"
        fi
        # shellcheck disable=SC2086
        [ -f "$found.toml" ] || "$run" tune --manifest "$out/$name-training.jsonl" -o "$found.toml" --gamma 2 --until $until -q -- \
            "$@" --noise "$noise" $chosen
        "$run" batch --manifest "$out/$name-test.jsonl" --out-template "$found/{id}.npy" --results "$found.jsonl" -q -- \
            "$@" --settings "$found.toml"
        [ $method = model ] || tv=$found
    done
    number psnr < "$tv.jsonl" > "$out/tv.txt"
    number psnr < "$found.jsonl" | paste "$out/tv.txt" - | awk -v name="$problem" -v weight="$(setting lambda "$tv.toml")" \
        -v lambda="$(setting lambda "$found.toml")" -v sigma="$(setting sigma "$found.toml")" \
        -v open="$(grep -vc '"stop":"converged"' "$tv.jsonl" || :),$(grep -vc '"stop":"converged"' "$found.jsonl" || :)" \
        -v spent="$(number iterations < "$tv.jsonl" | awk '{ n += $1 } END { print n / NR }'),$(number iterations < "$found.jsonl" | awk '{ n += $1 } END { print n / NR }')" '
        { tv += $1; model += $2; gain = $2 - $1; ahead += gain > 0; if (NR == 1 || gain < least) least = gain }
        END {
            gsub(",", " ", name)
            printf "%s,%.3f,%s,%.3f,%s,%s,%.3f,%.3f,%d/%d,%s,%s\n", name, tv / NR, weight, model / NR, lambda, sigma, (model - tv) / NR, least, ahead, NR, open, spent
        }'
done
