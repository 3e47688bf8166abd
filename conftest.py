"""Settings that all tests share."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch  # noqa: F401 (its libraries are to be loaded before an extension)

if "MNAD_EMULATED_EXTENSION" in os.environ:
    # The operators by emulated CUDA kernels, see tests/cuda_emulator, in place of those that are installed.
    spec = importlib.util.spec_from_file_location("mnad_ext._C", os.environ["MNAD_EMULATED_EXTENSION"])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["mnad_ext._C"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["mnad_ext._C"])

from mnad.data import SyntheticSpec, write_synthetic
from mnad.pipeline.calibrate import CalibrateConfig, calibrate
from mnad.pipeline.score import ScoreConfig, score
from mnad.training import TrainConfig, train

from tests.sizes import HELD_OUT

# Files that take minutes come first, so that no process of several ends with one of them alone.
LONG = ("test_soak", "test_resume", "test_emulated_operators")

pytest_plugins = ["tests.settings", "tests.browser", "tests.servers", "tests.cluster.nodes"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps clip stores out of the user's cache folder."""
    os.environ["MNAD_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    del os.environ["MNAD_CACHE"]


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic data set: 2 training videos, one test video of each kind, 32 x 32."""
    root = tmp_path_factory.mktemp("synthetic") / "circles"
    spec = SyntheticSpec(size=32, radius=30, speed=16, fast=32, train_videos=2, test_videos=1, frames=40, objects=1)
    write_synthetic(root, spec)
    return root


@pytest.fixture(scope="session")
def trained(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained on it: prediction with memory, scored. Tests that change it copy it."""
    run = tmp_path_factory.mktemp("runs") / "prediction"
    train(TrainConfig(synthetic, run, size=32, width=4, epochs=2, learning_rate=2e-3, accelerator="cpu"))
    score(ScoreConfig(run, synthetic, accelerator="cpu"))
    return run


@pytest.fixture(scope="session")
def held_out(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that held out the ends of its training videos, calibrated and scored. Tests that change it copy it."""
    run = tmp_path_factory.mktemp("held_out") / "run"
    train(TrainConfig(synthetic, run, **HELD_OUT))
    calibrate(CalibrateConfig(run, synthetic, (3600, 36000), fps=25, accelerator="cpu"))
    score(ScoreConfig(run, synthetic, accelerator="cpu"))
    return run


@pytest.fixture(autouse=True)
def _gate(request: pytest.FixtureRequest) -> None:
    """Runs examples of the front door in a folder where data/gate and runs/gate are."""
    if not isinstance(request.node, pytest.DoctestItem) or not request.node.name.startswith(
        ("mnad.api", "mnad.detector")
    ):
        return
    folder: Path = request.getfixturevalue("tmp_path")
    for name, place in {"data": "synthetic", "runs": "held_out"}.items():
        (folder / name).mkdir()
        shutil.copytree(request.getfixturevalue(place), folder / name / "gate")
    request.getfixturevalue("monkeypatch").chdir(folder)


@pytest.fixture(scope="session")
def ped2() -> Path:
    """Real UCSD Ped2 in the frames layout, where MNAD_PED2 names its folder."""
    if "MNAD_PED2" not in os.environ:
        pytest.skip("MNAD_PED2 does not name a folder with UCSD Ped2")
    return Path(os.environ["MNAD_PED2"])
