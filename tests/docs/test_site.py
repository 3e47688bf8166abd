"""The documentation builds without a warning, and all links within it lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path

import mnad
import pytest
from mnad.cli.commands import COMMANDS
from pages import DOCS

import mnad_ext
from tests.docs.site_links import Page, broken

REQUIRED = os.environ.get("MNAD_REQUIRE_DOCS") == "1"


def build(project: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Builds the site as `make docs` does. (Not --quiet: warnings that are not shown are not counted either.)"""
    if importlib.util.find_spec("mkdocs") is None and not REQUIRED:
        pytest.skip("mkdocs is not installed (make .venv/docs-tools); MNAD_REQUIRE_DOCS=1 makes this a failure")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(DOCS.parent, folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    for name in ("mkdocs.yml", "python", "mnad_ext"):
        (tmp_path / name).symlink_to(DOCS.parent / name)
    shutil.copytree(DOCS, tmp_path / "docs")
    page = tmp_path / "docs" / "module.md"
    page.write_text(page.read_text().replace("(operators.md#update)", "(operators.md#no-such-place)"))
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode != 0
    assert "no-such-place" in built.stderr


def test_it_builds_every_page(site: Path) -> None:
    pages = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in DOCS.rglob("*.md")}
    built = {page.relative_to(site).as_posix() for page in site.rglob("*.html")}
    assert pages == built - {"404.html"}


def test_no_link_is_broken_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    assert broken(site) == []


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    anchors = {name for page in site.rglob("*.html") for name in Page(page.read_text()).anchors}
    named_elsewhere = {"__version__", "BuildInfo", "UPDATE_RULES", "UpdateRule"}
    names = {
        f"{package.__name__}.{name}"
        for package in (mnad, mnad_ext)
        for name in package.__all__
        if name not in named_elsewhere
    }
    assert names <= anchors
    assert "mnad_ext.ops.memory_read.memory_gradient" not in anchors, "an operator was taken for its module"


def test_the_options_of_every_command_are_in_the_reference(site: Path) -> None:
    anchors = Page((site / "reference" / "options.html").read_text()).anchors
    configs = [command.load_config() for command in COMMANDS.values()]
    classes = {each for config in configs for each in config.__mro__ if is_dataclass(each)}
    assert {f"{each.__module__}.{each.__qualname__}" for each in classes} <= anchors


def test_no_sphinx_role_is_left(site: Path) -> None:
    for page in (site / "reference").glob("*.html"):
        assert ":func:" not in page.read_text()
        assert ":class:" not in page.read_text()


@pytest.mark.parametrize(
    "link",
    ["missing.html", "index.html#missing", "#missing", "missing.png", "folder/", "https://elsewhere.example/x.js"],
)
def test_a_broken_link_would_be_found(tmp_path: Path, link: str) -> None:
    tag = (
        f'<script src="{link}">'
        if link.endswith("js")
        else f'<img src="{link}">'
        if "png" in link
        else f'<a href="{link}">'
    )
    (tmp_path / "folder").mkdir()
    (tmp_path / "index.html").write_text(
        f'<a href="#here" id="here"><a href="index.html#here"><a href="https://x">{tag}'
    )
    assert len(broken(tmp_path)) == 1
