"""The steps as functions: options as people write them, and errors in words."""

from __future__ import annotations

from pathlib import Path

import mnad
import pytest
from mnad.runtime.errors import ConfigError


def test_options_as_people_write_them(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "m.npz")
    options = {"accelerator": "cpu", "cache": str(tmp_path / "cache")}
    assert mnad.score(str(held_out), str(synthetic), out=out, **options) == tmp_path / "m.npz"
    outcome = mnad.evaluate(out, out=str(tmp_path / "evaluation"), sweep=True)
    assert outcome.sweep is not None
    assert {path.name for path in (tmp_path / "evaluation").iterdir()} >= {"evaluation.json", "sweep.csv"}


def test_one_rate_of_false_alarms(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes((held_out / "checkpoint.safetensors").read_bytes())
    for rates in (3600, [3600.0], (3600,)):
        calibration = mnad.calibrate(checkpoint, synthetic, false_alarms_per_hour=rates, fps=25, accelerator="cpu")
        assert [each.false_alarms_per_hour for each in calibration.thresholds] == [3600]


def test_wrong_options_are_told_in_words(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="preset must be one of prediction, .*, got 'nope'"):
        mnad.train(synthetic, tmp_path / "run", preset="nope")
    for call in (mnad.train, lambda data, out, **options: mnad.score(held_out, data, **options)):
        with pytest.raises(ConfigError, match="accelerator must be cpu, cuda or auto, got 'gpu0'"):
            call(synthetic, tmp_path / "run", accelerator="gpu0")
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        mnad.train(synthetic, tmp_path / "run", epoch=1)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"smoothing": "mean"}, "smoothing must be one of none, gaussian, median, causal, got 'mean'"),
        ({"normalisation": "zscore"}, "normalisation must be one of per-video, global, .*, got 'zscore'"),
        ({"threshold": "calibrate"}, "threshold must be one of calibrated, got 'calibrate'"),
        ({"layout": "unknown"}, "layout must be one of ucsd, avenue, shanghaitech, frames, videos, got 'unknown'"),
    ],
)
def test_a_name_that_no_option_has(option: dict[str, str], words: str, held_out: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        mnad.evaluate(held_out, **option)


def test_a_name_that_training_or_calibration_does_not_have(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="loggers must be one of tensorboard, wandb, got 'mlflow'"):
        mnad.train(synthetic, tmp_path / "run", loggers=("mlflow",))
    with pytest.raises(ConfigError, match="precision must be one of 32-true, bf16-mixed, 16-mixed, got '64'"):
        mnad.train(synthetic, tmp_path / "run", precision="64")
    with pytest.raises(ConfigError, match="smoothing must be one of .* got 'gauss'"):
        mnad.calibrate(held_out, synthetic, smoothing="gauss")
