"""A run that held out the ends of its training videos."""

from __future__ import annotations

from pathlib import Path

import pytest
from mnad.evaluation.calibrate import CalibrateConfig, calibrate
from mnad.scoring import ScoreConfig, score
from mnad.training import TrainConfig, train

from tests.training.test_training import TINY

HELD_OUT = {**TINY, "epochs": 1, "hold_out": 0.25}


@pytest.fixture(scope="session")
def held_out(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It is scored and calibrated. Tests that change it copy it."""
    run = tmp_path_factory.mktemp("held_out") / "run"
    train(TrainConfig(synthetic, run, **HELD_OUT))  # type: ignore[arg-type]
    score(ScoreConfig(run, synthetic, accelerator="cpu"))
    calibrate(CalibrateConfig(run, synthetic, (3600, 36000), fps=25, accelerator="cpu"))
    return run
