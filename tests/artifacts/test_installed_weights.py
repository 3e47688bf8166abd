"""Packages of weights that are not as they should be; those of this repository are in tests/packaging."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from mnad.artifacts.checkpoint import export_checkpoint, load_checkpoint
from mnad.artifacts.installed_weights import GROUP, installed_weights
from mnad.runtime.errors import CheckpointError


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules can be imported, each the package of an entry point of its name."""

    def entry_points(group: str) -> list[EntryPoint]:
        assert group == GROUP
        return [EntryPoint(path.stem, f"{path.stem}:FOLDER", group) for path in sorted(tmp_path.glob("*.py"))]

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("mnad.artifacts.installed_weights.entry_points", entry_points)
    installed_weights.cache_clear()
    yield tmp_path
    installed_weights.cache_clear()


def offer(folder: Path, package: str) -> Path:
    (folder / f"{package}.py").write_text(f"FOLDER = {str(folder / package)!r}\n")
    return folder / package


def test_a_model_is_found_by_its_name(offered: Path, trained: Path) -> None:
    export_checkpoint(offer(offered, "weights_a") / "gate", load_checkpoint(trained))
    assert load_checkpoint(Path("gate")).epoch == 2
    assert installed_weights() == {"gate": offered / "weights_a" / "gate"}


def test_a_package_that_is_broken_is_named(offered: Path, tmp_path: Path) -> None:
    offer(offered, "weights_b")
    with pytest.raises(CheckpointError, match="the weights weights_b:FOLDER cannot be found: .*install them again"):
        load_checkpoint(tmp_path / "nothing")


def test_two_models_of_one_name_are_refused(offered: Path, trained: Path) -> None:
    for package in ("weights_c", "weights_d"):
        export_checkpoint(offer(offered, package) / "gate", load_checkpoint(trained))
    with pytest.raises(CheckpointError, match="two packages have weights called gate"):
        installed_weights()
