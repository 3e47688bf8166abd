"""The tables of the documentation are what the recorded results say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mnad.models import PRESETS
from pages import DOCS
from tables import PLACE, filled_in

PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "<!-- table:" in page.read_text()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_tables_are_those_of_the_results(page: Path) -> None:
    text = page.read_text()
    assert len(PLACE.findall(text)) == text.count("<!-- table:") == text.count("<!-- end -->")
    assert filled_in(text) == text, "run python docs/tools/tables.py"


def test_a_number_that_was_changed_would_be_found() -> None:
    text = (DOCS / "models" / "prediction.md").read_text()
    changed = re.sub(r"(\| UCSD Ped2 \| )[\d.]+", r"\g<1>99.9", text)
    assert changed != text
    assert filled_in(changed) == text


def test_every_preset_has_a_page() -> None:
    assert {page.stem for page in (DOCS / "models").glob("*.md")} == {*PRESETS, "index"}
    assert all(f"models/{name}.md" in (DOCS.parent / "mkdocs.yml").read_text() for name in PRESETS)


def test_files_that_pages_name_are_there() -> None:
    named = re.compile(r"\b((?:bench|csrc|docs|tests|mnad_ext|python)/[\w./-]+\.(?:json|py|sh|h|cuh|cu|cpp|svg))\b")
    found = {(page.name, name) for page in DOCS.rglob("*.md") for name in named.findall(page.read_text())}
    assert len(found) > 20
    kernels = (DOCS / "kernels.md").read_text()
    found |= {("kernels.md", f"csrc/{name}") for name in re.findall(r"`(cpu/[\w.]+)`", kernels)}
    missing = [pair for pair in found if "NAME" not in pair[1] and not (DOCS.parent / pair[1]).is_file()]
    assert missing == []


def test_the_kernels_page_and_its_drawing_know_the_size_of_a_tile() -> None:
    tile = re.search(r"kTile = (\d+)", (DOCS.parent / "csrc" / "cpu" / "tuning.h").read_text())
    assert tile is not None
    assert f"{tile[1]} positions" in (DOCS / "kernels.md").read_text()
    assert f"{tile[1]} positions" in (DOCS / "images" / "kernels-cut.svg").read_text()
