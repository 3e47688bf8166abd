"""Every Python block of the documentation runs, and every call of the command is one that it takes.

Blocks run page by page, in order, in one namespace. The commands of the tutorial are run, smaller; those of all other
pages are parsed by the command's own parser, and their options are checked, but nothing is carried out.
"""

from __future__ import annotations

import re
import shlex
import shutil
from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml
from mnad.cli import main, program
from mnad.cli.commands import COMMANDS
from mnad.cli.options import build
from pages import DOCS, Block, blocks, commands

SMALLER = {
    "synth": ["--frames", "40", "--train-videos", "2", "--test-videos", "1", "--size", "64"],
    "train": ["--size", "32", "--width", "4", "--epochs", "1", "--accelerator", "cpu"],
}
PAGES = sorted(page for page in DOCS.rglob("*.md") if blocks(page))
OTHERS = [page for page in PAGES if page.name != "tutorial.md"]


@pytest.fixture
def gate(synthetic: Path, held_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder where data/gate and runs/gate are."""
    for name, place in {"data": synthetic, "runs": held_out}.items():
        shutil.copytree(place, tmp_path / name / "gate")
    monkeypatch.chdir(tmp_path)


def run_python(block: Block, page: Path, names: dict[str, object]) -> None:
    exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)


@pytest.mark.filterwarnings("ignore:the memory:UserWarning", "ignore:left out:UserWarning")
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page, names = DOCS / "tutorial.md", {}
    for block in blocks(page):
        if block.language == "python":
            run_python(block, page, names)
        for command in commands(block) if block.language == "sh" else ():
            assert main([*command, *SMALLER.get(command[0], [])]) == 0, command
    assert names["result"].score is not None
    assert Path("runs/gate/report.html").is_file()
    assert len(list(Path("videos").glob("*.mp4"))) == 3


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.relative_to(DOCS).as_posix())
@pytest.mark.usefixtures("gate")
def test_the_python_blocks_run(page: Path) -> None:
    names: dict[str, object] = {}
    for block in blocks(page):
        if block.language == "python":
            run_python(block, page, names)


def calls(page: Path) -> list[tuple[Path, list[str]]]:
    return [(page, call) for block in blocks(page) if block.language == "sh" for call in commands(block)]


@pytest.mark.parametrize(
    ("page", "call"),
    [case for page in PAGES for case in calls(page)],
    ids=lambda part: part.stem if isinstance(part, Path) else " ".join(part),
)
def test_every_call_is_understood(page: Path, call: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built = []
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        if block.language == "yaml":
            Path("watch.yaml").write_text(block.text)
            break
    monkeypatch.setattr(program, "_run", lambda name, options: built.append(build(COMMANDS[name], options)) or 0)
    assert main(call) == 0
    assert len(built) == 1


def test_a_call_that_is_wrong_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_run", lambda name, options: build(COMMANDS[name], options) and 0)
    with pytest.raises(SystemExit):
        main(["train", "--data", "data/gate", "--out", "runs/gate", "--no-such-option", "1"])
    assert main(["train", "--data", "data/gate", "--out", "runs/gate", "--hold-out", "2"]) == 2


def test_blocks_are_found_with_their_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "words\n\n```python\nx = 1\n```\n\n- item\n\n    ```sh\n    mnad synth \\\n      data\n    ls\n    ```\n"
    )
    first, second = blocks(page)
    assert first == Block("python", "x = 1\n", 4)
    assert (second.language, second.line) == ("sh", 10)
    assert commands(second) == [["synth", "data"]]


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.relative_to(DOCS).as_posix())
def test_languages_are_those_that_are_tested(page: Path) -> None:
    fences = re.findall(r"^ *```(.+)$", page.read_text(), re.MULTILINE)
    assert set(fences) <= {"python", "sh", "yaml", "ini"}, "a block of another kind would not be run"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_configurations_can_be_read(page: Path) -> None:
    for block in blocks(page):
        if block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict)
        if block.language == "ini":
            unit = RawConfigParser(strict=False)
            unit.read_string(block.text)
            call = shlex.split(unit["Service"]["ExecStart"])
            assert call[0].endswith("/mnad")
            assert call[1] in COMMANDS
