#!/usr/bin/env bash
# Train the learned anomaly map on a graphics card for a given number of seconds.
#
#     Testing/studies/gpu_training.sh SECONDS PACKED OUT [OPTION...]
#
# SECONDS  that the training may take; the tests and the measurements come after it
# PACKED   folder of healthy material that may travel with the checkout, made before where the data are:
#              python -m conddiffusion_uad.training.learned_map --data DATA --cache CACHE --pack PACKED \
#                  --pack-bytes $(Testing/studies/gpu_fits.sh)
# OUT      gets seven files of less than 16 MiB each: every two minutes, and when it is told to stop, curve.jsonl,
#          curve.png, learned_map.safetensors (3 MB: what a detection needs) and checkpoint.pt (15 MB), from which the
#          training goes on when it lies in OUT at the start; train.log, tests.log and measured.log
# OPTION   of the training. Each of the three networks of the bundle `learned` is made by a call of its own:
#              --contrast FLAIR --start Resources/Models/learned/models/learned_flair.safetensors --seed 2 \
#                  --reconstructed 0 --cool-down-seconds 120
#          and was made without DATA/train/oasis_t1, whose license does not allow the bundle's use: leave it out.
#
# Without a card it trains on the processor, so that it can be rehearsed: DEVICE, WORKERS and PYTHON can be set. WORKERS
# are processes that make batches; without any (0) the card makes them itself, between its steps. With TRAIN_ONLY=1
# nothing is tested and measured.
set -u
seconds=$1 packed=$2 out=$(realpath -m "$3")
shift 3
here=$(dirname "$(realpath "$0")")
"$here"/gpu_fits.sh "$packed" >/dev/null || exit
root=$(realpath "$here/../..")
python=${PYTHON:-python3}
export PYTHONPATH=$root/CondDiffusionUAD:$root/Testing:$root/Testing/helpers OMP_NUM_THREADS=1
$python -c 'import SimpleITK' 2>/dev/null || PYTHONPATH+=:$here/without_simpleitk
mkdir -p "$out"
device=${DEVICE:-$($python -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')}
workers=${WORKERS:-$(($(nproc) > 2 ? $(nproc) - 2 : 0))}

$python -m conddiffusion_uad.training.learned_map --packed "$packed" --output "$out" --seconds "$seconds" \
    --device "$device" --workers "$workers" --keep-every 120 --light --export "$out"/learned_map.safetensors "$@" \
    >"$out"/train.log 2>&1 &
training=$!
trap 'kill $training; wait $training; exit 130' TERM INT # it keeps what it has
wait $training
trained=$?
trap - TERM INT
tail -n 3 "$out"/curve.jsonl "$out"/train.log
[ -n "${TRAIN_ONLY:-}" ] && exit $trained

cd "$root"
grep -lrZ mark.cuda Testing/unit | xargs -0 $python -m pytest -q --noconftest -m cuda >"$out"/tests.log 2>&1
tested=$?
tail -n 3 "$out"/tests.log
DEVICE=$device PYTHON=$python Testing/studies/gpu_measure.sh "$(mktemp -d)" | tee "$out"/measured.log
exit $((trained || tested))
