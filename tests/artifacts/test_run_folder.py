"""One run a folder: what is trained again never meets what was measured of an earlier model."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mnad.artifacts.checkpoint import export_checkpoint, load_checkpoint
from mnad.data import PrepareConfig, prepare
from mnad.pipeline.evaluate import EvaluateConfig, evaluate_run
from mnad.pipeline.score import ScoreConfig, score
from mnad.report.page import ReportConfig, write_report
from mnad.runtime.errors import ConfigError, DataError
from mnad.training import TrainConfig, train

OPTIONS = {"size": 32, "width": 4, "epochs": 1, "accelerator": "cpu", "learning_rate": 2e-3}


def config(data: Path, out: Path, **options: object) -> TrainConfig:
    return TrainConfig(data, out, **{**OPTIONS, **options})  # type: ignore[arg-type]


def test_a_folder_takes_one_run(trained: Path, synthetic: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "notes.txt").write_text("mine")
    (run / "figures").mkdir()
    before = sorted(run.rglob("*"))
    with pytest.raises(ConfigError, match=r"holds a run \(epoch 2\) already: --resume .* --overwrite"):
        train(config(synthetic, run, seed=1))
    assert sorted(run.rglob("*")) == before
    with pytest.raises(DataError, match="does not exist"):
        train(config(tmp_path / "nowhere", run, overwrite=True))
    assert sorted(run.rglob("*")) == before
    train(config(synthetic, run, seed=1, overwrite=True))
    assert (run / "notes.txt").read_text() == "mine"
    assert not {"figures", "measurements.npz", "measurements.log"} & {path.name for path in run.iterdir()}
    assert load_checkpoint(run).epoch == 1
    assert "removing the earlier run" in (run / "train.log").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 64}, "holds frames of size 32, but 64 is asked for"),
        ({"levels": (0, 900)}, "of 8 bits a pixel, but frames by the levels"),
        ({"hold_out": 0.99}, "a window needs 5 frames"),
        ({"cuda_graphs": True}, "cuda_graphs needs a GPU"),
        ({"loggers": ("wandb",)}, "the logger wandb is not installed"),
    ],
)
def test_what_is_found_wrong_late_removes_nothing(
    trained: Path, synthetic: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    """As a store of another size, which only shows when it is opened."""
    store = prepare(PrepareConfig(synthetic, tmp_path / "store", size=32), progress=False).path
    run = shutil.copytree(trained, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.suffix != ".log"}
    with pytest.raises((ConfigError, DataError), match=message):
        train(config(store, run, overwrite=True, **options))
    assert {path: path.read_bytes() for path in before} == before


def test_files_that_others_left_are_no_place_for_a_run(synthetic: Path, tmp_path: Path) -> None:
    (tmp_path / "measurements.npz").write_bytes(b"of what?")
    with pytest.raises(ConfigError, match=r"holds files of a run \(measurements.npz\) already: --overwrite"):
        train(config(synthetic, tmp_path))


def test_an_export_is_no_place_for_a_run(trained: Path, synthetic: Path, tmp_path: Path) -> None:
    export_checkpoint(tmp_path, load_checkpoint(trained))
    with pytest.raises(ConfigError, match=r"holds a run \(epoch 2\) already"):
        train(config(synthetic, tmp_path))
    train(config(synthetic, tmp_path, overwrite=True))
    assert load_checkpoint(tmp_path).epoch == 1  # of what was trained, not of the export


def test_measurements_of_another_model_are_refused(trained: Path, synthetic: Path, tmp_path: Path) -> None:
    """Trained, scored, trained again with another seed: preset, epoch and step are the same, the weights are not."""
    first, second = tmp_path / "first", tmp_path / "second"
    for out, seed in ((first, 0), (second, 1)):
        train(config(synthetic, out, seed=seed))
        score(ScoreConfig(out, synthetic, maps=True, accelerator="cpu"))
    score(ScoreConfig(first, synthetic, split="training", update="none", accelerator="cpu"))
    evaluate_run(EvaluateConfig(first, normalisation="train"))
    with pytest.raises(DataError, match="measurements-training.npz is of another model than the measurements"):
        evaluate_run(EvaluateConfig(second, normalisation="train", training=first / "measurements-training.npz"))
    shutil.copy(second / "measurements.npz", first)
    with pytest.raises(DataError, match="maps of .* another pass"):
        write_report(ReportConfig(first))
    shutil.copy(second / "measurements.maps.npz", first)
    with pytest.raises(DataError, match="the checkpoint in .* is of another model than the measurements"):
        write_report(ReportConfig(first))


def test_a_resumed_run_may_be_longer(trained: Path, synthetic: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    longer = config(synthetic, run, epochs=3, resume=True)
    train(longer)
    assert load_checkpoint(run).epoch == 3
    with pytest.raises(ConfigError, match="epochs"):
        train(replace(longer, epochs=2))
