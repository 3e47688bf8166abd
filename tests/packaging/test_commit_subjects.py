"""The check of commit subjects finds what it is there for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "commit_subjects.py"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Add a detector\n\nIt watches.", None),
        ("Feed frames one by one", None),
        ("A" * 73, "73 characters long"),
        ("add a detector", "capital letter"),
        ("Add a detector.", "full stop"),
        ("Add a detector; mend its test", "semicolon"),
        ("Added a detector", "imperative"),
        ("Tests: more of them", "imperative"),
        ("Add a detector\nIt watches.", "empty line"),
    ],
)
def test_subjects(message: str, words: str | None, tmp_path: Path) -> None:
    (tmp_path / "message").write_text(message)
    command = [sys.executable, str(SCRIPT), str(tmp_path / "message")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == (1 if words else 0)
    assert (words or "") in result.stderr
