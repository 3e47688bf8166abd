"""Where a recorded number comes from: command, commit, date, machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import torch


def provenance(command: str) -> dict[str, str]:
    """Returns it as plain values."""
    root = Path(__file__).parents[2]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True).stdout
    named = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    processor = named[1] if named else platform.machine()
    return {
        "command": command,
        "commit": commit.strip(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "device": f"{processor}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "torch": torch.__version__,
    }
