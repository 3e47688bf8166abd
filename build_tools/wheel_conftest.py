"""The conftest.py of the operators' tests in a clean environment, where check_wheel.py puts it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

import mnad_ext
from mnad_ext import _C

pytest_plugins = ["tests.settings"]

for module in (mnad_ext, _C, torch):
    if not Path(str(module.__file__)).is_relative_to(sys.prefix):
        raise pytest.UsageError(f"{module.__name__} is not of this environment: {module.__file__}")

_left_out: Counter[str] = Counter()


def pytest_report_header() -> str:
    """Names what is tested."""
    info = mnad_ext.build_info()
    return f"torch {torch.__version__}, {_C.__file__} built with torch {info['torch']}, CUDA: {info['cuda']}"


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Counts the tests that are not run."""
    _left_out.update(item.nodeid.split("[")[0] for item in items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names them."""
    for name, count in sorted(_left_out.items()):
        terminalreporter.write_line(f"not run: {name} ({count})")
