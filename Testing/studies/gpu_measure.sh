#!/usr/bin/env bash
# Measure a graphics card in a minute or two: tables into a folder.
#
#     Testing/studies/gpu_measure.sh OUT
#
# OUT gets network.log   the network against the card's own convolution ceiling, plain and fast, and a detection by
#                        stage, cold and warm, with its shares
#         card.log       slices a second and memory by batch, agreement with the processor, of denoisers and learned maps
#         training.log   slices a second of training steps at 1, 2 and 4 times the batch
#
# Without a card it measures the processor, so that it can be rehearsed: DEVICE, PYTHON, ROUNDS, BATCHES, SLICES and
# LIMIT (seconds for each measurement) can be set. What takes too long is cut off and the rest goes on.
set -u
out=$1
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
export PYTHONPATH=$PWD/CondDiffusionUAD:$PWD/Testing${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
device=${DEVICE:-$($python -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')}
rounds=${ROUNDS:-3} batches=${BATCHES:-16 32 64} slices=${SLICES:-80} limit=${LIMIT:-60} failed=0
mkdir -p "$out"

measure() { # LOG COMMAND...
    local log=$out/$1.log
    shift
    timeout "$limit" $python "$@" >"$log" 2>&1
    local status=$?
    tail -n 60 "$log"
    [ $status -eq 0 ] || { failed=1 && echo "$log ended with $status"; }
}

first=${batches%% *}
stages=$($python -c 'import SimpleITK; SimpleITK.ReadImage' 2>/dev/null || echo --no-stages) # no detection without it
measure network -m conddiffusion_uad benchmark --device "$device" --no-paper --slices "$first" --rounds "$rounds" $stages
measure card Testing/studies/gpu_measure.py --device "$device" --batches $batches --slices "$slices"
: >"$out"/training.log
for batch in $batches; do
    measure training_$batch -m conddiffusion_uad benchmark --training --no-paper --device "$device" \
        --slices "$batch" --rounds "$rounds"
    cat "$out"/training_$batch.log >>"$out"/training.log && rm "$out"/training_$batch.log
done
exit $failed
