"""Where a figure comes from: the commit, the device, the versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import torch

from mnad import __version__


def commit() -> str:
    """Gives the commit of the source tree that this package runs from, with ``-dirty`` if it was changed since.

    An installed package has no source tree; its version stands for it.
    """
    try:
        _git("ls-files", "--error-unmatch", __file__)  # an environment may lie inside another one's source tree
        return _git("describe", "--always", "--dirty", "--abbrev=9", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return f"version {__version__}"


def device_name(device: torch.device) -> str:
    """Names a device for people: the GPU, or the processor with the cores that are to be had.

    Example:
        >>> import torch
        >>> device_name(torch.device("cpu")).endswith("cores")
        True
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return f"{found.group(1) if found else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    shown = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
    return shown.stdout.strip()
