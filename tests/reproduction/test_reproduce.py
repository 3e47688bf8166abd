from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mnad.data import SyntheticSpec
from mnad.evaluation import evaluate
from mnad.models import Autoencoder, ModelConfig
from mnad.reproduction import EXPERIMENTS, ReproduceConfig, reproduce, skip_probe
from mnad.reproduction.aucs import auc_table, specs_of_row
from mnad.reproduction.published import ABLATIONS, MODELS, PREDICTION
from mnad.reproduction.runner import MeasurementSpec, Runner, TrainingSpec
from mnad.reproduction.scale import SCALES, Scale
from mnad.reproduction.tables import Row, table4, table5, table6, table7, table8, table9
from mnad.runtime.errors import ConfigError, DataError

from tests.reproduction.torchrun import ROOT, environment, share

TINY = replace(
    SCALES["small"],
    size=32,
    width=4,
    epochs={"ped2": 2, "avenue": 1, "shanghaitech": 1, "synthetic": 1},
    synthetic=SyntheticSpec(size=32, radius=30, speed=16, fast=32, train_videos=1, test_videos=1, frames=30, objects=1),
)


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> Scale:
    monkeypatch.setitem(SCALES, "small", TINY)
    return TINY


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture
def runner(scale: Scale, folder: Path, synthetic: Path) -> Runner:
    return Runner(folder, {"ped2": synthetic}, scale, accelerator="cpu")


def config(name: str, out: Path, data: Path) -> ReproduceConfig:
    return ReproduceConfig(name, out, data=(f"ped2={data}",), scale="small", accelerator="cpu")  # type: ignore[arg-type]


def test_every_training_of_the_paper_is_listed() -> None:
    assert len(table4()) == len(table5()) == 12
    assert [len(table6()), len(table7())] == [5, 5]
    # Each row of the ablation of tables 6 and 7 that leaves all in is the training of table 4.
    assert table7()[-1].training == table4()[0].training == TrainingSpec(PREDICTION, "ped2")
    assert [row.update for row in table6()] == ["carried-over"] * 3 + ["none", "carried-over"]
    assert {row.published["paper"] for row in table8() if row.training.dataset == "shanghaitech"} == {
        64.14, 71.07, 67.81, 70.40,
    }  # fmt: skip
    assert all(row.training.supervised for row in table9())
    assert [ablation.paper for ablation in ABLATIONS[PREDICTION]][-1] == 95.13


def test_a_table_is_run_once_and_says_what_it_is(scale: Scale, folder: Path, synthetic: Path) -> None:
    (result,) = reproduce(config("table4", folder, synthetic))
    assert [row["model"] for row in result.rows] == list(MODELS.values())
    for row in result.rows:
        assert row["ours - paper"] == pytest.approx(row["ours"] - row["paper"])
        assert row["best, lambda chosen on test"] >= row["ours"]
    assert [line.split(",")[0] for line in result.missing] == ["what is about Avenue", "what is about ShanghaiTech"]
    written = (folder / "table4" / "table.md").read_text()
    assert "SMALL SCALE, not the published experiment: 32 x 32, width 4" in written
    assert "Not run: what is about Avenue, as its data were not given." in written
    stored = json.loads((folder / "table4" / "table.json").read_text())
    assert stored["rows"] == result.rows
    assert {"device", "commit", "torch", "date", "scale"} <= set(stored["provenance"])

    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*.*")}
    (again,) = reproduce(config("table4", folder, synthetic))
    assert again.rows == result.rows
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_an_auc_is_what_evaluate_says(runner: Runner) -> None:
    training = TrainingSpec(PREDICTION, "ped2")
    rows = [Row({"what": "here"}, training, score_weight=0.3, published={"paper": 50.0})]
    (row,) = auc_table("t", "", rows, runner, [0]).rows
    expected = 100 * evaluate(runner.measured(MeasurementSpec(training)), 0.3).auc
    assert (row["ours"], row["lambda"]) == (pytest.approx(expected), 0.3)
    assert row["ours - paper"] == pytest.approx(expected - 50)


def test_a_search_measures_every_checkpoint_batch_size_and_lambda(runner: Runner) -> None:
    row = next(row for row in table5() if row.training == TrainingSpec(PREDICTION, "ped2"))
    specs = specs_of_row(row, runner, [0])
    assert [(spec.training.batch_size, spec.epoch) for spec in specs] == [(2, 1), (2, 2), (4, 1), (4, 2)]
    (found,) = auc_table("t", "", [row], runner, [0]).rows
    weights = np.linspace(0, 1, 101)
    every = [evaluate(runner.measured(spec), float(w)).auc for spec in specs for w in weights]
    assert found["ours, chosen on test"] == pytest.approx(100 * max(every))


def test_seeds_give_mean_and_deviation(runner: Runner) -> None:
    training = TrainingSpec(PREDICTION, "ped2")
    (row,) = auc_table("t", "", [Row({}, training)], runner, [0, 1]).rows
    aucs = [100 * evaluate(runner.measured(MeasurementSpec(replace(training, seed=seed)))).auc for seed in (0, 1)]
    assert row["ours"] == pytest.approx(np.mean(aucs))
    assert row["ours, sd"] == pytest.approx(np.std(aucs, ddof=1))


def test_folders_keep_their_names() -> None:
    """Runs of earlier versions are found again by the hash of what they compute."""
    runner = Runner(Path("/x"), {"ped2": Path("/nowhere/ped2")}, SCALES["full"])
    assert [
        str(runner.config(training).out)
        for training in (TrainingSpec(PREDICTION, "ped2"), TrainingSpec(PREDICTION, "ped2", supervised=True, seed=1))
    ] == ["/x/runs/ped2-prediction-aa79144361", "/x/runs/ped2-prediction-adc9bc4022"]


def test_maps_are_measured_where_they_are_wanted(runner: Runner) -> None:
    spec = MeasurementSpec(TrainingSpec(PREDICTION, "ped2"), "per-video")
    before = runner.measured(spec)
    with_maps = replace(spec, maps=True)
    assert not runner.is_measured(with_maps)
    np.testing.assert_array_equal(runner.measured(with_maps).distance, before.distance)
    assert runner.is_measured(with_maps)
    assert runner.is_measured(spec)


def test_the_health_of_a_memory_is_that_of_the_last_epoch(runner: Runner) -> None:
    training = TrainingSpec(PREDICTION, "ped2")
    health = runner.health(training)
    assert health is not None
    assert len(health.histogram) == 10
    assert sum(health.histogram) == pytest.approx(1)
    assert health.items_in_use == np.count_nonzero(health.histogram)
    last = (runner.folder_of(training) / "train.log").read_text().splitlines()
    assert any(f"items in use {health.items_in_use}  positional share {health.positional_share:.3f}" in line
               for line in last if "epoch 2/2" in line)  # fmt: skip
    assert runner.health(TrainingSpec("prediction-no-memory", "ped2")) is None


def test_what_differs_is_trained_so(runner: Runner) -> None:
    ablated = runner.config(TrainingSpec(PREDICTION, "ped2", compactness=False))
    assert ablated.loss_weights() == (0, 0.1, 0)
    supervised = runner.config(TrainingSpec(PREDICTION, "ped2", supervised=True))
    assert supervised.loss_weights() == (0.001, 0.001, 1)
    assert ablated.out != supervised.out != runner.config(TrainingSpec(PREDICTION, "ped2")).out


@pytest.mark.parametrize("name", ["table1", "table2-3", "figures2-4", "figures1-5", "figures6-9", "skip-probe"])
def test_figures(name: str, scale: Scale, folder: Path, synthetic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skip_probe, "PROBES", skip_probe.PROBES[:7])
    (result,) = reproduce(config(name, folder, synthetic))
    assert result.rows
    for file, caption in result.plots.items():
        assert (folder / name / file).stat().st_size > 5_000
        assert caption in (folder / name / "table.md").read_text()
    assert bool(result.plots) == (not name.startswith("table"))


def test_sizes_are_those_of_the_networks(runner: Runner) -> None:
    result = EXPERIMENTS["table2-3"].carry_out(runner, [0], runner.folder)
    weights = sum(weight.numel() for weight in Autoencoder(ModelConfig(width=4)).parameters())
    assert result.rows[0]["ours, MB"] == 4 * weights / 1e6
    assert [round(row["at width 64, MB"], 2) for row in result.rows] == [62.6, 53.17, 59.49, 50.05]


PROGRAM = """
import sys
from pathlib import Path
from tests.reproduction.test_reproduce import TINY, config
from mnad.reproduction import reproduce
from mnad.reproduction.scale import SCALES
SCALES["small"] = TINY
results = reproduce(config("table7", Path(sys.argv[1]), Path(sys.argv[2])))
print("results:", len(results))
"""


def test_killed_and_gone_on_with_by_two_processes_of_torchrun(synthetic: Path, tmp_path: Path) -> None:
    out, program = tmp_path / "out", tmp_path / "program.py"
    program.write_text(PROGRAM)
    call = [str(part) for part in (program, out, synthetic)]
    killed = subprocess.Popen([sys.executable, *call], env=environment(), cwd=ROOT, stdout=subprocess.DEVNULL)
    while not list(out.glob("runs/*/checkpoint.safetensors")):
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    lines = share(call)
    trained = [line for line in lines if line.startswith("training: ")]
    assert 3 <= len(trained) == len(set(trained)) <= 4  # the one that was finished or stopped, and none twice
    assert len(json.loads((out / "table7" / "table.json").read_text())["rows"]) == 5
    assert len(list(out.glob("runs/*/curves/metrics.csv"))) == 4


def test_bad_input(synthetic: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="NAME one of ped2, avenue, shanghaitech, strangers, got 'x=y'"):
        ReproduceConfig("table4", tmp_path, data=("x=y",))
    with pytest.raises(ConfigError, match="seeds must be at least 1, got 0"):
        ReproduceConfig("table4", tmp_path, seeds=0)
    with pytest.raises(DataError, match="does not exist"):
        reproduce(ReproduceConfig("table4", tmp_path, data=(f"ped2={tmp_path / 'nowhere'}",)))
    assert ReproduceConfig("table4", tmp_path, data=("data/UCSDped2",)).datasets() == {"ped2": Path("data/UCSDped2")}
    (result,) = reproduce(ReproduceConfig("table4", tmp_path / "none", scale="small"))
    assert result.rows == []
    assert len(result.missing) == 3
