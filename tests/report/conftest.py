from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.samples import write_run


@pytest.fixture(scope="session")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run made by hand. Tests that change it copy it."""
    return write_run(tmp_path_factory.mktemp("by-hand") / "run")
