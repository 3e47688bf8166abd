#!/usr/bin/env bash
# Proof on a GPU machine, in one call of less than 8 minutes: builds for its architecture, runs the GPU tests with skips
# turned into failures, compute-sanitizer on small cases, the benchmarks, and the profiler on the main kernels. The
# table of the bars comes last; the results, at most six files, go to the folder given, each as soon as there is one.
#
#   bash bench/gpu_check.sh OUT                  with PYTHON=python3.12 for another interpreter,
#   MNAD_COMMIT=... bash bench/gpu_check.sh OUT  where the files travelled without their history
#   bash bench/gpu_check.sh --dry-run OUT        as far as it goes without a GPU
set -uo pipefail

dry_run=0
if [ "${1:-}" = --dry-run ]; then
  dry_run=1
  shift
fi
out=${1:?name a folder for the results: bash bench/gpu_check.sh OUT}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.." || exit 1
work=$PWD/build/gpu_check
rm -rf "$work"
mkdir -p "$work"
python=${PYTHON:-python3}
# Nothing is installed: the metadata that tell the version lie in a folder of their own.
metadata=$PWD/build/metadata
export PYTHONPATH="$PWD:$PWD/python:$metadata${PYTHONPATH:+:$PYTHONPATH}"
export BENCH_COMMAND="bash bench/gpu_check.sh" PYTHONUNBUFFERED=1

# What is left of the whole call's time, or so many seconds if that is less.
at_most() {
  local left=$((whole - SECONDS))
  echo $((left < 10 ? 10 : left < $1 ? left : $1))
}

# step NAME SECONDS COMMAND...   runs it no longer than that; keeps its output in OUT/log.txt and a line in OUT/summary.txt
step() {
  local name=$1 limit began=$SECONDS status=ok log=$work/$1.log
  limit=$(at_most "$2")
  shift 2
  echo "== $name: $*"
  timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 || status="FAILED ($?)"
  # Where the system does not let it look at the device, the tool tells nothing of the kernels.
  [ "$status" = ok ] || ! grep -qs 'Device not supported\|LibraryNotLoaded' "$log" || status="left out: $(grep -m 1 -o \
    'Device not supported\|LibraryNotLoaded' "$log")"
  [ "$status" != "FAILED (124)" ] || status="FAILED (took more than $limit s)"
  [[ $status != FAILED* ]] || tail -n 25 "$log"
  {
    flock 9
    printf '\n== %s\n' "$name" >>"$out/log.txt"
    tail -c 300000 "$log" >>"$out/log.txt"
    printf '%-10s %-12s %4d s  %s\n' "$name" "$status" $((SECONDS - began)) "$(tail -n 1 "$log" | cut -c1-90)" \
      >>"$out/summary.txt"
  } 9>"$work/lock"
}

left_out() {
  printf '%-10s %-12s         %s\n' "$1" "left out" "$2" | tee -a "$out/summary.txt"
}

architecture() {
  "$python" -c 'import torch; print("{}.{}".format(*torch.cuda.get_device_capability()))' 2>/dev/null || echo 9.0
}

# What is wrong shows here even where a kernel's own tensors lie side by side: every tensor is an allocation of its own.
sanitize() {
  local filter=()
  # Not with initcheck, which must see all that writes.
  case $1 in racecheck | synccheck) filter=(--kernel-name kns=mnad) ;; memcheck) filter=(--padding 256 --report-api-errors no) ;; esac
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 step "$1" 130 compute-sanitizer --tool "$1" --error-exitcode 9 \
    "${filter[@]}" "$python" bench/small_cases.py
}

: >"$out/log.txt"
: >"$out/summary.txt"
whole=460 build_seconds=150
if [ $dry_run = 0 ]; then
  export MNAD_CUDA=1 MNAD_REQUIRE_CUDA=1
  TORCH_CUDA_ARCH_LIST=$(architecture)
  export TORCH_CUDA_ARCH_LIST
else
  whole=1500 build_seconds=900 # for one or two processors
fi
step build $build_seconds "$python" bench/build_here.py "$metadata"

if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    sanitize $tool &
  done
else
  left_out sanitizer "compute-sanitizer is not installed"
  step cases 60 "$python" bench/small_cases.py
fi
step tests 170 "$python" -m pytest tests/ext tests/bench tests/training/test_on_gpu.py -m cuda -q -p no:cacheprovider
wait

# The time for the profiler and for the table is kept back, as is that of the last measurement.
seconds=$(($(at_most 280) - 80))
[ $dry_run = 0 ] || seconds=20
step bench $((seconds + 20)) "$python" bench/gpu_operators.py "$out" --seconds $seconds

if command -v ncu >/dev/null; then
  step profile 75 ncu --clock-control none --kernel-name-base mangled --kernel-name regex:mnad \
    --section SpeedOfLight --section MemoryWorkloadAnalysis --section Occupancy --section WarpStateStats \
    --section LaunchStats --export "$work/kernels" --force-overwrite "$python" bench/small_cases.py --published
  [ ! -f "$work/kernels.ncu-rep" ] || ncu --import "$work/kernels.ncu-rep" --page details >"$out/ncu.txt"
else
  left_out profile "ncu is not installed"
fi

for results in "$out"/operators-*.json; do
  step bars 60 "$python" bench/gpu_bars.py "$results"
  cat "$work/bars.log"
done
echo
cat "$out/summary.txt"
! grep -q FAILED "$out/summary.txt"
