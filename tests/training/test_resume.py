"""A run that is stopped, killed or spread over processes ends with the weights of one that is not."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.fabric.loggers.csv_logs import CSVLogger
from mnad.artifacts.checkpoint import load_checkpoint, save_checkpoint
from mnad.runtime.errors import ConfigError, Interrupted
from mnad.training import TrainConfig, train
from mnad.training.state import TrainingState
from mnad.training.stopping import StopRequests

from tests.sizes import TINY
from tests.training.test_training import curves


def config(synthetic: Path, out: Path, **options: object) -> TrainConfig:
    return TrainConfig(synthetic, out, **{**TINY, "epochs": 3, **options})  # type: ignore[arg-type]


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = load_checkpoint(one), load_checkpoint(other)
    assert (ours.epoch, ours.step) == (theirs.epoch, theirs.step)
    assert ours.weights.keys() == theirs.weights.keys()
    return all(torch.equal(value, theirs.weights[name]) for name, value in ours.weights.items())


@pytest.mark.parametrize("preset", ["prediction", "temporal-denoising"])
@pytest.mark.parametrize("stop_at", [7, 18, 40])  # of 18 steps an epoch
def test_a_stopped_run_goes_on_in_the_middle_of_an_epoch(
    preset: str, stop_at: int, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(config(synthetic, tmp_path / "unbroken", preset=preset))
    agree = StopRequests.agreed
    monkeypatch.setattr(StopRequests, "agreed", lambda self, step: step == stop_at)
    with pytest.raises(Interrupted, match=f"stopped after step {stop_at}, .* --resume goes on"):
        train(config(synthetic, tmp_path / "broken", preset=preset))
    stopped = load_checkpoint(tmp_path / "broken")
    assert (stopped.epoch, stopped.batch) == divmod(stop_at, 18)
    monkeypatch.setattr(StopRequests, "agreed", agree)
    train(config(synthetic, tmp_path / "broken", preset=preset, resume=True))
    assert same_weights(tmp_path / "unbroken", tmp_path / "broken")
    timeless = [
        [
            {name: value for name, value in row.items() if name != "samples_per_second"}
            for row in curves(tmp_path / name)
        ]
        for name in ("unbroken", "broken")
    ]
    assert timeless[0] == timeless[1]
    assert len(timeless[0]) == 3


def test_a_stop_is_heard_where_every_batch_is_the_last_of_its_epoch(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StopRequests, "agreed", lambda self, step: step == 1)
    with pytest.raises(Interrupted, match="stopped after step 1, in epoch 2; .* --resume goes on"):
        train(config(synthetic, tmp_path / "run", batch_size=72))
    assert load_checkpoint(tmp_path / "run").epoch == 1


def test_killed_ten_times(synthetic: Path, tmp_path: Path) -> None:
    options = ["--size", "32", "--width", "4", "--epochs", "40", "--learning-rate", "0.002", "--accelerator", "cpu"]
    train(config(synthetic, tmp_path / "unbroken", epochs=40))
    out = tmp_path / "killed"
    command = [
        sys.executable,
        "-m",
        "mnad.cli",
        "train",
        "--data",
        synthetic,
        "--out",
        out,
        *options,
        "--resume",
    ]
    moments = random.Random(1)
    epochs = [0]
    for _ in range(10):
        with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while "  loss " not in process.stdout.readline():
                assert process.poll() is None
            time.sleep(moments.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)
        epochs.append(load_checkpoint(out).epoch)
    assert len(set(epochs)) > 4
    assert max(epochs) < 40
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert same_weights(tmp_path / "unbroken", out)
    assert [int(row["step"]) for row in curves(out)] == [*range(1, 41)]


def stop_in_the_third_epoch(synthetic: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(StopRequests, "agreed", lambda self, step: step == 40)
        with pytest.raises(Interrupted, match="in epoch 3"):
            train(config(synthetic, out))


@pytest.mark.parametrize("method", [(TrainingState, "save"), (CSVLogger, "log_metrics"), (CSVLogger, "__init__")])
def test_a_kill_at_a_bad_moment_loses_no_row_of_the_curves(
    method: tuple[type, str], synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    stop_in_the_third_epoch(synthetic, tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(*method, killed)
        with pytest.raises(KeyboardInterrupt):
            train(config(synthetic, tmp_path, resume=True))
    assert load_checkpoint(tmp_path).epoch == 2
    train(config(synthetic, tmp_path, resume=True))
    assert [int(row["step"]) for row in curves(tmp_path)] == [1, 2, 3]
    assert [path.name for path in (tmp_path / "curves").iterdir() if path.suffix == ".kept"] == []


def test_a_run_goes_on_without_its_curves(synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_in_the_third_epoch(synthetic, tmp_path, monkeypatch)
    (tmp_path / "curves" / "metrics.csv").unlink()
    with pytest.warns(UserWarning, match=r"metrics.csv is gone: the curves begin with epoch 3"):
        train(config(synthetic, tmp_path, resume=True))
    assert [int(row["step"]) for row in curves(tmp_path)] == [3]


def test_resuming_a_finished_run_changes_nothing(synthetic: Path, tmp_path: Path) -> None:
    path = train(config(synthetic, tmp_path))
    before = path.read_bytes()
    train(config(synthetic, tmp_path, resume=True))
    assert path.read_bytes() == before


def test_resuming_where_nothing_is_begins_the_run(
    synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(config(synthetic, tmp_path, resume=True, epochs=1))
    assert "no checkpoint" in capsys.readouterr().out
    assert load_checkpoint(tmp_path).epoch == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 8}, "is of another network: its width is 4, not 8"),
        ({"preset": "prediction-no-skips"}, "is of another network: its skips is True, not False"),
        ({"num_items": 5}, "is of another network: its memory is"),
        ({"batch_size": 5}, "began with batch_size 4 and cannot go on with 5"),
        ({"seed": 9}, "began with seed 0"),
        ({"devices": 2}, None),
    ],
)
def test_a_run_goes_on_by_its_own_options(
    options: dict[str, object], message: str | None, synthetic: Path, tmp_path: Path
) -> None:
    path = train(config(synthetic, tmp_path, epochs=1))
    before = path.read_bytes()
    if message is None:
        from mnad.training.config import check_resumable

        with pytest.raises(ConfigError, match="began on 1 devices in all and cannot go on on 2"):
            check_resumable(config(synthetic, tmp_path, epochs=1, **options), load_checkpoint(path).training)
    else:
        with pytest.raises(ConfigError, match=message):
            train(config(synthetic, tmp_path, epochs=1, resume=True, **options))
    assert path.read_bytes() == before


def test_a_checkpoint_without_optimizer_is_for_scoring(synthetic: Path, tmp_path: Path) -> None:
    train(config(synthetic, tmp_path, epochs=2, keep_every=1))
    kept = tmp_path / "checkpoints/epoch-001.safetensors"
    assert sorted(path.name for path in kept.parent.iterdir()) == ["epoch-001.safetensors", "epoch-002.safetensors"]
    assert kept.stat().st_size < 0.5 * (tmp_path / "checkpoint.safetensors").stat().st_size
    save_checkpoint(
        tmp_path / "checkpoint.safetensors", replace(load_checkpoint(kept), training=load_checkpoint(tmp_path).training)
    )
    with pytest.raises(ConfigError, match="holds no optimizer"):
        train(config(synthetic, tmp_path, epochs=2, keep_every=1, resume=True))
