#!/usr/bin/env bash
# UCSD Ped2 at full size on a GPU: trains and scores the models given, prediction with memory unless told otherwise, one
# after the other, until the time is up; the same call with the same OUT goes on from there. Builds the extension first
# where that has not been done. DATA is the data set's folder, or one .tar of it.
#
#   bash bench/ped2_gpu.sh --probe DATA OUT             first: how fast are the steps, what do they consist of
#   bash bench/ped2_gpu.sh DATA OUT [MODEL...] [options]
#   bash bench/ped2_gpu.sh --dry-run DATA OUT           very small, as far as it goes without a GPU
#
# The whole call ends within --minutes, 7.1 unless given, and leaves its results in RESULTS, OUT/results unless given by
# --results, whatever fails; the exit status is not 0 where anything did. python bench/ped2_gpu.py --help tells the other
# options. PYTHON names another interpreter, MNAD_COMMIT the commit where the files travelled without their history.
set -uo pipefail
# shellcheck source=bench/gpu_steps.sh
. "$(dirname "$0")/gpu_steps.sh"

script=ped2_gpu.py usual=()
case ${1:-} in
  --probe) script=ped2_probe.py && shift ;;
  --dry-run) usual=(--size 32 --width 4 --epochs 1 --precision 32-true --no-compile) && shift ;;
esac
out=${2:?name the data and a folder: bash bench/ped2_gpu.sh DATA OUT}
results=$out/results minutes=7.1
for ((i = 3; i <= $#; i++)); do
  value=$((i + 1))
  case ${!i} in
    --minutes) minutes=${!value:?--minutes needs a number} ;;
    --results) results=${!value:?--results needs a folder} ;;
    --minutes=* | --results=*) echo "put a blank after ${!i%%=*}, not =" && exit 2 ;;
  esac
done
whole=$(awk -v minutes="$minutes" 'BEGIN { printf "%d", 60000 * minutes }')
grace=$(share 1)
mkdir -p "$out" "$results"
rm -f "$results/summary.json" "$out/summary.json"

# Leaves a result where Python could leave none.
fail() {
  [ -f "$results/summary.json" ] || printf '{"error": "%s", "runs": []}\n' "$1" >"$results/summary.json"
  echo "FAILED: $1"
  exit "$2"
}

usable='import mnad, mnad_ext, torch; assert mnad_ext.build_info()["cuda"] or not torch.cuda.is_available()'
if ! limited "$(share 15)" "$python" -c "$usable" 2>/dev/null; then
  [ "${#usual[@]}" != 0 ] || for_this_device
  echo "building the extension for architecture ${TORCH_CUDA_ARCH_LIST:-none}"
  limited "$(share 35)" "$python" "$root/bench/build_here.py" "$metadata" >"$results/build.log" 2>&1 ||
    { tail -n 25 "$results/build.log" && fail "the extension could not be built, see build.log" 1; }
fi
if [ $script = ped2_probe.py ]; then
  "$python" "$root/bench/$script" "$@"
  exit
fi

kept=$(share 5) # to write the results of work that had to be killed
limit=$(left)
# It counts from when it has imported what it needs.
minutes=$(awk -v limit=$((limit - $(share 3))) 'BEGIN { print limit / 60000 }')
code=0
limited "$limit" "$python" "$root/bench/$script" "${usual[@]}" "$@" --results "$results" --minutes "$minutes" || code=$?
if ((code >= 124)); then # killed, or crashed
  kept=0
  limited "$(left)" "$python" "$root/bench/$script" "${usual[@]}" "$@" --results "$results" --rescue "status $code"
fi
[ $code = 0 ] || fail "training and scoring ended with status $code" $code
