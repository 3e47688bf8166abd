"""What the README shows is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from mnad.cli import main

README = Path(__file__).parents[1] / "README.md"


def test_the_python_snippet_runs() -> None:
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, str(README), "exec"), {})


def test_the_first_screen_shows_the_two_commands() -> None:
    first_screen = README.read_text().splitlines()[:25]
    assert any(line.strip().startswith("make demo") for line in first_screen)
    assert any(line.strip().startswith("make test") for line in first_screen)


def test_the_commands_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.split("#")[0].strip() for line in README.read_text().splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("mnad ")]
    assert [command[0] for command in commands] == [
        "synth",
        "train",
        "score",
        "evaluate",
        "report",
        "overlay",
        "evaluate",
        "calibrate",
        "evaluate",
        "plots",
        "reproduce",
        "inspect",
        "prepare",
        "train",
    ]
    smaller = {
        "synth": ["--frames", "40", "--train-videos", "1", "--test-videos", "1", "--size", "64"],
        "prepare": ["--size", "32"],
        "train": ["--size", "32", "--width", "4", "--epochs", "1", "--accelerator", "cpu"],
    }
    monkeypatch.chdir(tmp_path)
    for command in commands:
        assert main([*command, *smaller.get(command[0], [])]) == 0


def test_no_placeholder_is_left() -> None:
    assert "<!--" not in README.read_text()
