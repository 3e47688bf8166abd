# shellcheck shell=bash
# Sourced by the commands for a GPU machine: the environment, the build, and steps that each have a limit in time, a line
# in OUT/summary.txt and their output in OUT/log.txt. Times are milliseconds.

now() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

began=$(now)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
# Nothing is installed: the metadata that tell the version lie in a folder of their own.
metadata=$root/build/metadata
export PYTHONPATH="$root:$root/python:$metadata${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

# What the whole command may take, what of it is kept for later steps, and how long what is interrupted may go on.
whole=0 kept=0 grace=0
# What a failing step's output says where the machine does not allow it.
excused=
failed=0
group='' work=$(mktemp -d)
trap 'end_group; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

share() { echo $((whole * $1 / 100)); }
left() { echo $((whole - kept - grace - $(now) + began)); }
in_seconds() { printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); }

# limited MILLISECONDS COMMAND...   interrupts it, so that it can still sum up, kills it after the grace, and kills what
# it leaves running
limited() {
  local limit=$1 code=0
  shift
  # Work in the background ignores interrupts unless told otherwise.
  timeout --signal=INT --kill-after="$(in_seconds "$grace")" "$(in_seconds "$limit")" env --default-signal=INT "$@" &
  group=$!
  wait $group 2>/dev/null || code=$?
  end_group
  return $code
}

end_group() {
  [ -z "$group" ] || kill -KILL -- "-$group" 2>/dev/null
  group=
}

# Has the extension built with its CUDA kernels, for the device that is there.
for_this_device() {
  local capability='import torch; print("{}.{}".format(*torch.cuda.get_device_capability()))'
  export MNAD_CUDA=1 MNAD_REQUIRE_CUDA=1
  TORCH_CUDA_ARCH_LIST=$(limited "$(share 10)" "$python" -c "$capability" 2>/dev/null || echo 9.0)
  export TORCH_CUDA_ARCH_LIST
}

# begin SECONDS SECONDS_OF_A_DRY_RUN [--dry-run] OUT [SECONDS]
begin() {
  local seconds=$1 dry_run=0
  if [ "${3:-}" = --dry-run ]; then
    seconds=$2 dry_run=1
    shift
  fi
  shift 2
  mkdir -p "${1:?name a folder for the results}" || exit 1
  out=$(cd "$1" && pwd)
  whole=$((1000 * ${2:-$seconds}))
  grace=$(share 3)
  : >"$out/log.txt"
  : >"$out/summary.txt"
  cd "$root" || exit 1
  [ $dry_run = 1 ] || for_this_device
}

# step NAME MILLISECONDS COMMAND...   runs it no longer than that, nor than there is time
step() {
  local name=$1 limit=$2 most start took code=0 status=ok log=$work/$1.log
  shift 2
  most=$(left)
  limit=$((limit < most ? limit : most))
  if ((limit <= 0)); then
    record "$name" "FAILED (no time was left)" 0
    return 1
  fi
  echo "== $name: $*"
  start=$(now)
  limited $limit "$@" >"$log" 2>&1 || code=$?
  took=$(($(now) - start))
  [ $code = 0 ] || status="FAILED ($code)"
  [ $code = 0 ] || ((took < limit)) || status="FAILED (took more than $(in_seconds $limit) s)"
  [ $code = 0 ] || [ -z "$excused" ] || ! grep -qs "$excused" "$log" || status="left out: not supported here"
  [[ $status != FAILED* ]] || tail -n 25 "$log"
  printf '\n== %s: %s\n%s\n' "$name" "$*" "$(tail -c 300000 "$log")" >>"$out/log.txt"
  record "$name" "$status" $took "$(tail -n 1 "$log" | cut -c1-90)"
  [[ $status != FAILED* ]]
}

# record NAME STATUS MILLISECONDS [NOTE]
record() {
  [[ $2 != FAILED* ]] || failed=1
  printf '%-10s %-12s %4d s  %s\n' "$1" "$2" $(($3 / 1000)) "${4:-}" >>"$out/summary.txt"
}

finish() {
  echo
  cat "$out/summary.txt"
  exit $failed
}
