#!/usr/bin/env bash
# Proof on a GPU machine in at most 330 s: builds for its architecture, runs small cases, the GPU tests with skips turned
# into failures, and the operators' benchmark, and judges it by its bars. Where the build or the small cases fail it stops
# there. The results, at most six files, go to OUT, each as soon as there is one; the exit status tells whether anything
# failed. A missed bar is no failure.
#
#   bash bench/gpu_check.sh OUT [SECONDS]        with PYTHON=python3.12 for another interpreter,
#   MNAD_COMMIT=... bash bench/gpu_check.sh OUT  where the files travelled without their history
#   bash bench/gpu_check.sh --dry-run OUT        as far as it goes without a GPU
#
# The tests run in several processes where pytest-xdist can be imported. Where it can neither be so nor be installed, the
# wheels of pytest-xdist and execnet will do: pip install --no-index --no-deps --target FOLDER WHEELS, and PYTHONPATH=FOLDER.
set -uo pipefail
# shellcheck source=bench/gpu_steps.sh
. "$(dirname "$0")/gpu_steps.sh"
export BENCH_COMMAND="bash bench/gpu_check.sh"

begin 330 1800 "$@"
rm -f "$out"/operators-*.json "$out/bars.json" "$out/table.md"

kept=$(share 21) # for the benchmark and the bars
step build "$(share 36)" "$python" bench/build_here.py "$metadata" || finish
step cases "$(share 12)" "$python" bench/small_cases.py || finish

processes=() threads=$(nproc)
if limited "$(share 5)" "$python" -c 'import xdist' 2>/dev/null; then
  count=$((threads < 8 ? threads : 8)) # that share the GPU
  processes=(-n "$count") threads=$((threads / count))
fi
OMP_NUM_THREADS=$threads step tests "$(share 31)" "$python" -m pytest tests/ext tests/bench tests/training/test_on_gpu.py \
  -m cuda -q --tb=short -p no:cacheprovider "${processes[@]}"

kept=$(share 7) # for the bars
limit=$(left)
# It is told to stop a little earlier, as it ends with the measurement at hand.
step bench "$limit" "$python" bench/gpu_operators.py "$out" --seconds "$(in_seconds $((limit - $(share 6))))"

kept=0
for results in "$out"/operators-*.json; do
  step bars "$(left)" "$python" bench/gpu_bars.py "$results"
  cat "$work/bars.log"
done
finish
