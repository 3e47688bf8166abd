"""Where a recorded number comes from: command, commit of the code that was measured, date, machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import torch

MEASURED = ("csrc", "mnad_ext", "python")


def provenance(command: str) -> dict[str, str]:
    """Returns it as plain values."""
    git = ["git", "log", "-1", "--format=%H", "--", *MEASURED]
    commit = subprocess.run(git, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True).stdout
    named = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    processor = named[1] if named else platform.machine()
    return {
        "command": command,
        "commit": commit.strip(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "device": f"{processor}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "torch": torch.__version__,
    }
