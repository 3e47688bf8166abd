"""Plays a GPU machine for the shell commands in bench/: a stand-in for the interpreter and for the tools of CUDA."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# What each step of a command calls; PLAY says how it ends: tests=hang bench=fail. Without a word in it, it goes well.
STUB = r"""#!/usr/bin/env bash
case "$0 $*" in
  *get_device_capability*) echo 9.0 && exit ;;
  *"import xdist"*) exit "${XDIST:-1}" ;;
  *"import mnad, "*) step=usable ;;
  *compute-sanitizer*) step=$2 ;;
  */ncu*--import*) echo "details of the kernels" && exit ;;
  */ncu*) step=profile ;;
  *build_here.py*) step=build ;;
  *small_cases.py*) step=cases ;;
  *"-m pytest"*) step=tests ;;
  *gpu_operators.py*) step=bench ;;
  *gpu_bars.py*) step=bars ;;
  *ped2_gpu.py*--rescue*) step=rescue ;;
  *ped2_gpu.py*) step=work ;;
esac
echo "$step: $*" >>"$PLAYED"
if [ $step = bench ]; then cp "$RESULTS" "$2/operators-played.json" || exit; fi
if [ $step = profile ]; then
  while [ "$1" != --export ]; do shift; done
  echo report >"$2.ncu-rep"
fi
if [[ $step = rescue && $PLAY != *rescue=lost* ]]; then echo '{"rescued": true}' >"$OUT/summary.json" || exit; fi
case " $PLAY " in
  *" $step=fail "*) echo "it went wrong" && exit 3 ;;
  *" $step=killed "*) kill -KILL $$ ;;
  *" $step=unsupported "*) echo "Error: Device not supported" && exit 1 ;;
  *" $step=slow "*) # ends when it is interrupted
    trap 'echo "12 passed"; exit 2' INT
    sleep 300 &
    wait ;;
  *" $step=hang "*) trap '' INT TERM && sleep 300 ;;
  *" $step=real "*) exec "$REAL_PYTHON" "$@" ;;
esac
echo "$step went well"
"""
EMPTY = (
    '{"command": "x", "commit": "x", "date": "x", "device": "x", "torch": "x", "cuda": "x", "timing": "x",'
    ' "threads": 1, "rows": [], "sizes": [], "launches": {"read": ["a"]}, "left_out": 9, "failures": []}'
)


@dataclass(frozen=True)
class Played:
    """What a command left.

    Attributes:
        code: Its exit status.
        seconds: How long it took.
        out: The folder of its results.
        printed: What it printed.
        calls: What it called, one line each.
        survivors: Processes that outlived it.
    """

    code: int
    seconds: float
    out: Path
    printed: str
    calls: list[str]
    survivors: list[str]

    def status(self, step: str) -> str:
        """What the summary says of a step; empty if nothing."""
        lines = (self.out / "summary.txt").read_text().splitlines()
        return next((line.removeprefix(step).strip() for line in lines if line.split()[0] == step), "")


def play(command: list[str], folder: Path, plays: str = "", *, tools: bool = True, xdist: bool = False) -> Played:
    """Runs a command of bench/ with OUT = folder/out; each word of ``plays`` is STEP=HOW."""
    bin_folder, out = folder / "bin", folder / "out"
    bin_folder.mkdir(parents=True)
    for name in ("python", *(("compute-sanitizer", "ncu") if tools else ())):
        (bin_folder / name).write_text(STUB)
        (bin_folder / name).chmod(0o755)
    (folder / "results.json").write_text(EMPTY)
    (folder / "played").touch()
    environment = {
        "PATH": f"{bin_folder}:/usr/bin:/bin",
        "PYTHON": str(bin_folder / "python"),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "REAL_PYTHON": sys.executable,
        "RESULTS": str(folder / "results.json"),
        "PLAY": plays,
        "PLAYED": str(folder / "played"),
        "OUT": str(out),
        "XDIST": str(int(not xdist)),
    }
    began = time.monotonic()
    with subprocess.Popen(
        ["bash", *command],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=60)
        finally:
            survivors = _end_session(process.pid)
    calls = (folder / "played").read_text().splitlines()
    return Played(process.returncode, time.monotonic() - began, out, printed, calls, survivors)


def _end_session(session: int) -> list[str]:
    """Kills what is left of a session, and tells what that was."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((path / "cmdline").read_text().replace("\0", " "))
                os.kill(int(path.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
