"""The models that ship: installed from their own wheel, found by their names, and as good as their cards say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mnad.artifacts.checkpoint import load_checkpoint

WEIGHTS = Path(__file__).parents[2] / "weights"
MODELS = sorted(path.name for path in (WEIGHTS / "mnad_weights").iterdir() if (path / "CARD.md").is_file())
STEPS = """
import sys, numpy, mnad
for name in sys.argv[1:]:
    detector = mnad.Detector.load(name)
    results = [detector.step(frame) for frame in numpy.zeros((5, 90, 160, 3), numpy.uint8)]
    assert results[-1].score is not None
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the distribution is installed, by a wheel of its own."""
    sources = shutil.copytree(WEIGHTS, tmp_path_factory.mktemp("weights") / "weights")
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(sources)], check=True)
    return target


def run(installed: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": paths}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def figure(name: str, what: str) -> float:
    card = (WEIGHTS / "mnad_weights" / name / "CARD.md").read_text()
    found = re.search(rf"^\| AUC, {what}.*\| ([\d.]+) %", card, re.MULTILINE)
    assert found
    return float(found[1])


def test_each_model_is_loaded_by_its_name(installed: Path, tmp_path: Path) -> None:
    assert MODELS == ["ped2-small", "road-small", "room-small", "table-small"]
    ran = run(installed, tmp_path, "-c", STEPS, *MODELS)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", MODELS)
def test_the_card_is_of_the_weights(name: str) -> None:
    folder = WEIGHTS / "mnad_weights" / name
    card, readme = (folder / "CARD.md").read_text(), (WEIGHTS / "README.md").read_text()
    assert load_checkpoint(folder).describe()["weights"] in card
    published, deployed = figure(name, "published"), figure(name, "deployed")
    assert re.search(rf"\[{name}\].*\| {published} % \| {deployed} % \|", readme)


def test_what_is_installed_stays_as_it_is(installed: Path, tmp_path: Path, synthetic: Path) -> None:
    ran = run(installed, tmp_path, "-m", "mnad.cli", "calibrate", "room-small", "--data", synthetic, "--fps", "25")
    assert ran.returncode == 2
    assert "room-small is installed and stays as it is" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_not_known_lists_those_that_are(installed: Path, tmp_path: Path) -> None:
    ran = run(installed, tmp_path, "-m", "mnad.cli", "score", "ped3-small", "--data", ".")
    assert ran.returncode == 2
    assert "or weights that are installed: ped2-small, road-small" in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("MNAD_PED2" not in os.environ, reason="MNAD_PED2 names no folder of UCSD Ped2")
def test_scores_ped2_as_its_card_says(installed: Path, tmp_path: Path) -> None:
    ran = run(installed, tmp_path, "-m", "mnad.cli", "score", "ped2-small", "--data", os.environ["MNAD_PED2"])
    assert ran.returncode == 0, ran.stderr
    assert "wrote ped2-small/measurements.npz" in ran.stdout
    for options, what, key in (((), "published", "auc"), (("--threshold", "calibrated"), "deployed", "deployed_auc")):
        ran = run(installed, tmp_path, "-m", "mnad.cli", "evaluate", "ped2-small", "--json", *options)
        assert ran.returncode == 0, ran.stderr
        auc = re.search(rf'"{key}": ([\d.]+)', ran.stdout)
        assert auc
        assert 100 * float(auc[1]) == pytest.approx(figure("ped2-small", what), abs=0.1)
