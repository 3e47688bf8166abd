#!/usr/bin/env bash
# compute-sanitizer's four tools on two small shapes, and the profiler on forward and backward passes at the published
# shape, on a GPU machine, in at most 420 s. OUT gets summary.txt, log.txt and ncu.txt; the exit status tells whether
# anything failed. A tool that is not installed is left out.
#
#   bash bench/gpu_sanitize.sh OUT [SECONDS]     with PYTHON=python3.12 for another interpreter
#   bash bench/gpu_sanitize.sh --dry-run OUT     as far as it goes without a GPU
set -uo pipefail
# shellcheck source=bench/gpu_steps.sh
. "$(dirname "$0")/gpu_steps.sh"

begin 420 1500 "$@"
rm -f "$out/ncu.txt"

kept=$(share 60) # for the sanitizers and the profiler
step build "$(share 28)" "$python" bench/build_here.py "$metadata" || finish
step cases "$(share 10)" "$python" bench/small_cases.py --cases two || finish
kept=0

# Where the system does not let a tool look at the device, it tells nothing of the kernels.
excused='Device not supported\|LibraryNotLoaded'

sanitize() {
  local filter=()
  # Not with initcheck, which must see all that writes.
  case $1 in
    racecheck | synccheck) filter=(--kernel-name kns=mnad) ;;
    memcheck) filter=(--padding 256 --report-api-errors no) ;;
  esac
  # What is wrong shows here even where a kernel's own tensors lie side by side: every tensor is an allocation of its own.
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 step "$1" "$2" compute-sanitizer --tool "$1" --error-exitcode 9 \
    "${filter[@]}" "$python" bench/small_cases.py --cases two
}

tools=(memcheck racecheck synccheck initcheck)
for ((i = 0; i < ${#tools[@]}; i++)); do
  if command -v compute-sanitizer >/dev/null; then
    sanitize "${tools[i]}" $(($(left) / (${#tools[@]} + 1 - i))) # an equal part of what is left, the profiler's included
  else
    record "${tools[i]}" "left out" 0 "compute-sanitizer is not installed"
  fi
done

if command -v ncu >/dev/null; then
  kept=$(share 3) # for the report's text
  step profile "$(left)" ncu --clock-control none --kernel-name-base mangled --kernel-name regex:mnad \
    --section SpeedOfLight --section MemoryWorkloadAnalysis --section Occupancy --section WarpStateStats \
    --section LaunchStats --export "$work/kernels" --force-overwrite "$python" bench/small_cases.py --cases published
  kept=0
  [ ! -f "$work/kernels.ncu-rep" ] ||
    limited "$(share 3)" ncu --import "$work/kernels.ncu-rep" --page details | head -c 15000000 >"$out/ncu.txt"
else
  record profile "left out" 0 "ncu is not installed"
fi
finish
