"""The benchmarks' own modules, which import one another by their plain names."""

from __future__ import annotations

from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets tests import from bench/."""
    monkeypatch.syspath_prepend(BENCH)
    return BENCH
