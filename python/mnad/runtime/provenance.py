"""Where a number comes from: the code and the device."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path

import torch

from mnad.runtime.version import __version__


@cache
def source_commit() -> str:
    """Returns the git commit of the source tree that runs, with ``-dirty`` where tracked files differ from it.

    Returns:
        The commit; the package's version where it runs from no git tree of its own.
    """
    try:
        # Without this the commit of a project that has the package installed within it would be taken for ours.
        _git("ls-files", "--error-unmatch", "__init__.py")
        return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (FileNotFoundError, subprocess.CalledProcessError):
        return __version__


def device_name(device: torch.device) -> str:
    """Names a device for people: the GPU, or the processor and the cores that are to be had.

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
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
