"""Programs that two processes of torchrun carry out together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """Returns the environment of such a program, with the tests' own folder for clip stores."""
    return os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}", "OMP_NUM_THREADS": "1"}


def share(call: list[str]) -> list[str]:
    """Returns what two processes print that share a call; the first of them gives the results."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launch, *call]
    shared = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    assert shared.returncode == 0, shared.stderr[-3000:]
    lines = shared.stdout.splitlines()
    assert sorted(line for line in lines if line.startswith("results:")) == ["results: 0", "results: 1"]
    return lines
