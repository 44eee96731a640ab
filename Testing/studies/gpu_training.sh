#!/usr/bin/env bash
# Train the learned anomaly map on a graphics card for a given number of seconds, as the first thing on a borrowed one.
#
#     Testing/studies/gpu_training.sh SECONDS PACKED OUT [START]
#
# SECONDS  that the training may take; the tests and the measurements come after it
# PACKED   folder of healthy material, at most 40 MB, made before where the data are:
#              python -m conddiffusion_uad.training.learned_map --data DATA --cache CACHE --pack PACKED
# OUT      gets learned_map.safetensors (3 MB) every two minutes, curve.jsonl, train.log, tests.log, and the tables of
#          gpu_measure.sh in measured/
# START    weights of an earlier training to start from
#
# Without a card it trains on the processor, so that it can be rehearsed: DEVICE, WORKERS and PYTHON can be set.
set -u
seconds=$1 packed=$2 out=$3 start=${4:-}
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
export PYTHONPATH=$PWD/CondDiffusionUAD:$PWD/Testing:$PWD/Testing/helpers OMP_NUM_THREADS=1
mkdir -p "$out"
device=${DEVICE:-$($python -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')}
workers=${WORKERS:-$(($(nproc) - 2))}
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT

# The curve is copied in the end, and whenever this script is told to stop.
keep() { cp "$run"/curve.jsonl "$out"/ 2>/dev/null; }
trap keep TERM INT

$python -m conddiffusion_uad.training.learned_map --packed "$packed" --output "$run" --seconds "$seconds" \
    --device "$device" --workers "$workers" --keep-every 120 --export "$out"/learned_map.safetensors \
    ${start:+--start "$start"} >"$out"/train.log 2>&1
trained=$?
keep
tail -n 3 "$out"/curve.jsonl "$out"/train.log

$python -m pytest -q -m cuda Testing/unit >"$out"/tests.log 2>&1
tested=$?
[ $tested -eq 5 ] && tested=0 # nothing is marked
tail -n 3 "$out"/tests.log

DEVICE=$device PYTHON=$python Testing/studies/gpu_measure.sh "$out"/measured
exit $((trained || tested))
