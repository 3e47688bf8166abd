#!/usr/bin/env bash
# Proof on a GPU machine, in one call: builds for its architecture, runs the GPU tests with skips turned into failures,
# compute-sanitizer on small cases, and the benchmarks. A table comes last; results go to the folder given.
#
#   bash bench/gpu_check.sh OUT                  with PYTHON=python3.12 for another interpreter
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
python=${PYTHON:-python3}
export PYTHONPATH="$PWD:$PWD/python${PYTHONPATH:+:$PYTHONPATH}"
rows=()

# step NAME COMMAND...   runs it, keeps its output in OUT/NAME.log, remembers how it ended
step() {
  local name=$1 began=$SECONDS status=ok
  shift
  echo "== $name: $*"
  "$@" >"$out/$name.log" 2>&1 || status="FAILED ($?)"
  [ "$status" = ok ] || tail -n 25 "$out/$name.log"
  rows+=("$(printf '%-12s %-12s %5d s   %s' "$name" "$status" $((SECONDS - began)) "$(tail -n 1 "$out/$name.log" | cut -c1-90)")")
}

architecture() {
  "$python" -c 'import torch; print("{}.{}".format(*torch.cuda.get_device_capability()))' 2>/dev/null || echo 9.0
}

if [ $dry_run = 0 ]; then
  export MNAD_CUDA=1 MNAD_REQUIRE_CUDA=1
  TORCH_CUDA_ARCH_LIST=$(architecture)
  export TORCH_CUDA_ARCH_LIST
fi
step build "$python" setup.py -v build_ext --inplace
step tests "$python" -m pytest tests/ext -q -p no:cacheprovider -k "cuda and not two_billion"
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    step "$tool" compute-sanitizer --tool "$tool" --error-exitcode 9 "$python" bench/small_cases.py
  done
else
  rows+=("compute-sanitizer is not installed: left out")
  step cases "$python" bench/small_cases.py
fi
step bench "$python" -m pytest bench -c bench/pytest.ini --benchmark-json="$out/bench.json"
export BENCH_COMMAND="bash bench/gpu_check.sh"
step report "$python" bench/report.py "$out/bench.json" "$out"

cat "$out/report.log"
echo
printf '%s\n' "${rows[@]}" | tee "$out/summary.txt"
! grep -q FAILED "$out/summary.txt"
