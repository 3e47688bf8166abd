"""``mnad convert``: a published checkpoint becomes a run that every other command takes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.measurements import load_measurements
from mnad.cli import main
from mnad.models import PRESETS
from mnad.pipeline.convert import ConvertConfig, convert, nearest_preset
from mnad.runtime.errors import CheckpointError, ConfigError
from mnad.training import TrainConfig, train

from tests.artifacts.released_code import RECONSTRUCTION, make_keys, make_network, save

ON_CPU = ("--accelerator", "cpu")


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A prediction network and its items, as published but narrow."""
    return save(tmp_path / "model.pth", make_network()), save(tmp_path / "keys.pt", make_keys())


@pytest.mark.filterwarnings("ignore")
def test_every_command_takes_the_run(
    files: tuple[Path, Path], synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, data = tmp_path / "run", ("--data", synthetic)
    assert run("convert", *files, "--out", out, "--size", "32") == 0
    assert "prediction, width 4, 4 frames in of 3 channels, skips, 10 items of width 32" in capsys.readouterr().out
    assert run("score", out, *data, "--maps", *ON_CPU) == 0
    measured = load_measurements(out)
    assert len(measured) > 0
    assert (measured.protocol["preset"], measured.protocol["epoch"]) == ("prediction", 0)
    assert run("evaluate", out) == 0
    assert run("calibrate", out, *data, "--whole", "--fps", "25", "--false-alarms-per-hour", "36000", *ON_CPU) == 0
    assert run("plots", out, *data) == 0
    assert run("report", out) == 0
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    page = (out / "report.html").read_text()
    assert f"elsewhere, and converted from model.pth (SHA-256 {digest[:12]}) and keys.pt (SHA-256" in page


def test_a_network_without_memory_needs_no_second_file(
    synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = make_network(frames_in=1, skips=False, memory=False)
    model, out = save(tmp_path / "model.pth", network, network=RECONSTRUCTION), tmp_path / "run"
    assert run("convert", model, "--out", out, "--size", "32") == 0
    printed = capsys.readouterr().out
    assert "reconstruction-no-memory, width 4, 1 frames in of 3 channels, no skips, decoder narrow-up, no" in printed
    assert f"it restores the last frame, as its class is {RECONSTRUCTION}.convAE" in printed
    assert "left out: encoder.moduleBatchNorm.bias" in printed
    assert run("score", out, "--data", synthetic, *ON_CPU) == 0
    assert run("evaluate", out) == 0


def test_what_is_known_of_the_training(files: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint = load_checkpoint(convert(ConvertConfig(*files, out=tmp_path / "run", size=64, target="last")))
    assert (checkpoint.epoch, checkpoint.step, checkpoint.optimizer) == (0, 0, None)
    assert checkpoint.config.target == "last"
    sources = checkpoint.training.pop("converted_from")
    assert sources == {
        role: {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for role, path in zip(("model", "keys"), files, strict=True)
    }
    assert checkpoint.training == {
        "preset": "temporal-denoising", "out": str(tmp_path / "run"), "size": 64, "width": 4, "image_channels": 3,
        "frames_in": 4, "num_items": 10, "update_rule": "max-all",
    }  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_the_preset_of_an_architecture(name: Any) -> None:
    assert nearest_preset(PRESETS[name].model) == name


def test_another_run_stays(files: tuple[Path, Path], synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = convert(ConvertConfig(*files, out=out)).read_bytes()
    (out / "measurements.npz").write_bytes(b"of the first")
    save(files[1], make_keys())
    with pytest.raises(ConfigError, match=r"holds a run \(epoch 0\) already: --overwrite removes it"):
        convert(ConvertConfig(*files, out=out))
    save(files[1], make_keys(8))
    with pytest.raises(CheckpointError, match="have width 64"):
        convert(ConvertConfig(*files, out=out, overwrite=True))
    assert (out / "checkpoint.safetensors").read_bytes() == first
    assert (out / "measurements.npz").exists()
    save(files[1], make_keys())
    assert convert(ConvertConfig(*files, out=out, overwrite=True)).read_bytes() != first
    assert [path.name for path in out.iterdir()] == ["checkpoint.safetensors"]
    with pytest.raises(ConfigError, match="holds no optimizer and cannot be gone on from"):
        train(TrainConfig(synthetic, out, size=32, width=4, resume=True, accelerator="cpu"))


def test_wrong_options(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, keys = files
    for arguments, words in [
        ((model,), "has a memory: give the file of its items"),
        ((model, model), "was given as the network and as its items"),
        ((model, keys, "--size", "100"), "size must be a multiple of 8"),
        ((tmp_path / "none.pth", keys), "there is no file"),
        ((model, tmp_path / "none.pt"), "there is no file"),
        ((tmp_path, keys), "there is no file"),
    ]:
        assert run("convert", *arguments, "--out", tmp_path / "run") == 2
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("convert", model, keys, "--out", tmp_path / "run", "--target", "first")
    assert not (tmp_path / "run").exists()
