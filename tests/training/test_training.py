from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.cli import main
from mnad.data import PrepareConfig, prepare
from mnad.models import PRESETS
from mnad.runtime.errors import ConfigError, DataError, MnadError
from mnad.training import TrainConfig, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.sizes import TINY


def curves(run: Path) -> list[dict[str, float]]:
    with (run / "curves" / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_loss_falls(preset: str, synthetic: Path, tmp_path: Path) -> None:
    train(TrainConfig(synthetic, tmp_path, preset, epochs=3, **TINY))
    rows = curves(tmp_path)
    assert len(rows) == 3
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert rows[-1]["psnr"] > rows[0]["psnr"]
    assert [row["learning_rate"] for row in rows] == pytest.approx([2e-3, 1.5e-3, 0.5e-3])  # a cosine to 0
    assert ("positional_share" in rows[0]) == ("no-memory" not in preset)


def test_a_seed_repeats_the_weights(synthetic: Path, tmp_path: Path) -> None:
    runs = []
    for name, seed in {"one": 5, "same": 5, "other": 6}.items():
        runs.append(
            load_checkpoint(train(TrainConfig(synthetic, tmp_path / name, epochs=1, seed=seed, **TINY))).weights
        )  # type: ignore[arg-type]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert not torch.equal(runs[0]["memory.items"], runs[2]["memory.items"])


def test_the_preset_decides_what_is_left_out(tmp_path: Path) -> None:
    config = TrainConfig(tmp_path, tmp_path, "reconstruction", learning_rate=1e-4)
    assert (config.recipe().learning_rate, config.recipe().loss_weight) == (1e-4, 0.01)
    assert TrainConfig(tmp_path, tmp_path).recipe().learning_rate == 2e-4


def test_one_item_without_separateness(synthetic: Path, tmp_path: Path) -> None:
    train(TrainConfig(synthetic, tmp_path, num_items=1, separateness_weight=0, epochs=1, **TINY))
    assert load_checkpoint(tmp_path).weights["memory.items"].shape == (1, 32)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_a_usable_checkpoint(synthetic: Path, tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "mnad.cli", "train", "--data", str(synthetic), "--out", str(tmp_path / "run")]
    options = ["--size", "32", "--width", "4", "--epochs", "500", "--accelerator", "cpu"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        log = tmp_path / "run" / "curves" / "metrics.csv"
        deadline = time.monotonic() + 120
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped after step" in errors
    assert "Traceback" not in errors
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint.step > 0
    checkpoint.build_model()


def test_a_loss_that_is_not_finite_stops_the_run(synthetic: Path, tmp_path: Path) -> None:
    with pytest.raises(MnadError, match=r"the loss was not finite at step \d+, in epoch"):
        train(TrainConfig(synthetic, tmp_path, epochs=30, **{**TINY, "learning_rate": 1e30}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 500}, "batch_size 500 is larger than the 72 training windows"),
        ({"size": 36}, "size must be a multiple of 8"),
        ({"epochs": 0}, "epochs must be positive, got 0"),
        ({"num_items": 1}, "separateness needs at least 2 items"),
        ({"compactness_weight": -1.0}, "compactness_weight must not be negative"),
    ],
)
def test_options_that_do_not_fit(synthetic: Path, tmp_path: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(TrainConfig(synthetic, tmp_path / "run", **{**TINY, **options}))  # type: ignore[arg-type]
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_faulty_data_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        train(TrainConfig(tmp_path / "nowhere", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written(synthetic: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(MnadError, match="cannot write .*file/run"):
        train(TrainConfig(synthetic, tmp_path / "file" / "run", **TINY))
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(MnadError, match="Permission denied"):
            train(TrainConfig(synthetic, tmp_path / "locked" / "run", **TINY))


def test_every_way_to_the_data_gives_the_same_weights(synthetic: Path, tmp_path: Path) -> None:
    prepare(PrepareConfig(synthetic, tmp_path / "store", size=32), progress=False)
    ways = {
        "raw": {"data": synthetic},
        "store": {"data": tmp_path / "store"},
        "cached": {"data": tmp_path / "store", "device_cache": True},
        "workers": {"data": tmp_path / "store", "workers": 1},
    }
    weights = [
        load_checkpoint(train(TrainConfig(out=tmp_path / name, epochs=1, **way, **TINY))).weights  # type: ignore[arg-type]
        for name, way in ways.items()
    ]
    assert all(torch.equal(other[name], value) for other in weights[1:] for name, value in weights[0].items())


def test_the_place_of_the_store_is_printed(synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("preparing once", "using"):
        train(TrainConfig(synthetic, tmp_path / verb, epochs=1, cache=tmp_path / "cache", **TINY))
        assert f"{verb} the clip store {tmp_path / 'cache'}" in capsys.readouterr().out


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_and_scores(preset: str, synthetic: Path, tmp_path: Path) -> None:
    options = ["--size", "32", "--width", "4", "--epochs", "1", "--accelerator", "cpu"]
    out = str(tmp_path / "run")
    assert main(["train", "--preset", preset, "--data", str(synthetic), "--out", out, *options]) == 0
    assert main(["score", out, "--data", str(synthetic), "--accelerator", "cpu"]) == 0
    assert main(["evaluate", out]) == 0


def test_supervision_has_its_own_default_weights(synthetic: Path, tmp_path: Path) -> None:
    config = TrainConfig(synthetic, tmp_path, supervision_weight=1, epochs=1, **TINY)  # type: ignore[arg-type]
    assert config.loss_weights() == (0.001, 0.001, 1)
    assert TrainConfig(synthetic, tmp_path).loss_weights() == (0.1, 0.1, 0)
    train(config)
    assert curves(tmp_path)[0]["supervision"] > 0
    with pytest.raises(ConfigError, match="supervision_weight needs a memory"):
        TrainConfig(synthetic, tmp_path, "prediction-no-memory", supervision_weight=1)


@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16")
@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_precision_and_frames(precision: str, synthetic: Path, tmp_path: Path) -> None:
    options = {**TINY, "precision": precision, "frames_in": 2, "image_channels": 1}
    train(TrainConfig(synthetic, tmp_path, epochs=1, **options))  # type: ignore[arg-type]
    weights = load_checkpoint(tmp_path).weights
    assert weights["memory.items"].dtype == torch.float32
    torch.testing.assert_close(weights["memory.items"].norm(dim=1), torch.ones(10))
    assert weights["encoder.stages.0.0.weight"].shape[1] == 2


def test_a_compiled_network_trains(synthetic: Path, tmp_path: Path) -> None:
    for name in ("eager", "compiled"):
        options = {**TINY, "compile": name == "compiled", "batch_size": 72}
        train(TrainConfig(synthetic, tmp_path / name, epochs=1, **options))  # type: ignore[arg-type]
    # One step: its loss comes from the same weights.
    first, second = (curves(tmp_path / name)[0]["loss"] for name in ("eager", "compiled"))
    assert first == pytest.approx(second, rel=1e-4)
    eager, compiled = (load_checkpoint(tmp_path / name).weights for name in ("eager", "compiled"))
    assert eager.keys() == compiled.keys()


def test_loggers(synthetic: Path, tmp_path: Path) -> None:
    train(TrainConfig(synthetic, tmp_path, epochs=2, loggers=("tensorboard",), **TINY))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("loss", "learning_rate", "positional_share", "samples_per_second"):
        logged = [event.value for event in events.Scalars(name)]
        assert logged == pytest.approx([row[name] for row in curves(tmp_path)]), name


def test_a_logger_that_is_not_installed(synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch.loggers.wandb", None)
    with pytest.raises(ConfigError, match=r"wandb is not installed: pip install mnad-ext\[wandb\]"):
        train(TrainConfig(synthetic, tmp_path, epochs=1, loggers=("wandb",), **TINY))
