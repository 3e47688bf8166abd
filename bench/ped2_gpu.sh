#!/usr/bin/env bash
# UCSD Ped2 at full size on a GPU: trains and scores the models given, one after the other, until the time is up; the
# same call with the same OUT goes on from there. Builds the extension first where that has not been done.
#
#   bash bench/ped2_gpu.sh --probe DATA OUT             first: how fast are the steps, what do they consist of
#   bash bench/ped2_gpu.sh DATA OUT [MODEL...] [options]
#
# python bench/ped2_gpu.py --help tells the options. PYTHON names another interpreter, MNAD_COMMIT the commit where the
# files travelled without their history.
set -euo pipefail
script=ped2_gpu.py
if [ "${1:-}" = --probe ]; then
  script=ped2_probe.py
  shift
fi
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
# Nothing is installed: the metadata that tell the version lie in a folder of their own.
metadata=$here/build/metadata
export PYTHONPATH="$here:$here/python:$metadata${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
if ! "$python" -c 'import mnad, mnad_ext' 2>/dev/null; then
  architecture=$("$python" -c 'import torch; print("{}.{}".format(*torch.cuda.get_device_capability()))')
  echo "building the extension for architecture $architecture; build/ped2_gpu_build.log tells more"
  mkdir -p "$here/build"
  MNAD_CUDA=1 TORCH_CUDA_ARCH_LIST=$architecture "$python" "$here/bench/build_here.py" "$metadata" \
    >"$here/build/ped2_gpu_build.log" 2>&1 || { tail -n 25 "$here/build/ped2_gpu_build.log" && exit 1; }
fi
exec "$python" "$here/bench/$script" "$@"
