"""The deployed AUC: of the score that a detector gives, never of another, and never for the published one."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import mnad
import numpy as np
import pytest
from mnad.artifacts.checkpoint import load_checkpoint, save_checkpoint
from mnad.artifacts.measurements import load_measurements, save_measurements
from mnad.cli import main
from mnad.evaluation import Calibration, pooled_auc
from mnad.pipeline.calibrate import CalibrateConfig, calibrate
from mnad.pipeline.evaluate import EvaluateConfig, evaluate_run
from mnad.pipeline.score import ScoreConfig, score


@pytest.fixture
def run(held_out: Path, tmp_path: Path) -> Path:
    return shutil.copytree(held_out, tmp_path / "run")


def test_it_is_that_of_the_detectors_scores(run: Path, synthetic: Path) -> None:
    # Each video by itself, as a camera sees it; no frame here is normal enough for an update.
    detector, measured = mnad.Detector.load(run, accelerator="cpu"), load_measurements(run)
    assert not measured.updated.any()
    scores = [detector.score(synthetic / "testing" / "frames" / name).score for name in measured.videos]
    by_detector = pooled_auc(measured, np.concatenate(scores))
    outcome = evaluate_run(EvaluateConfig(run))
    assert outcome.deployed is not None
    assert outcome.evaluation is not None
    assert outcome.deployed.auc == pytest.approx(by_detector, abs=1e-9)
    assert outcome.deployed.auc != outcome.evaluation.auc
    assert (outcome.evaluation.choices.protocol, outcome.deployed.choices.protocol) == ("published", "deployed")
    calibrated = evaluate_run(EvaluateConfig(run, threshold="calibrated"))
    assert calibrated.evaluation is not None
    assert calibrated.deployed is not None
    assert calibrated.evaluation.auc == calibrated.deployed.auc == outcome.deployed.auc
    assert calibrated.evaluation.choices.protocol == "deployed"


def test_it_is_printed_and_stored_apart_from_the_published_one(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = evaluate_run(EvaluateConfig(run))
    assert outcome.deployed is not None
    assert outcome.evaluation is not None
    assert main(["evaluate", str(run), "--out", str(tmp_path / "out")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"frame AUC, pooled {100 * outcome.evaluation.auc:.2f} % (published protocol)" in shown
    assert f"deployed AUC {100 * outcome.deployed.auc:.2f} % (one scale, past frames alone" in shown
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (stored["evaluated_by"], stored["auc"]) == ("published", outcome.evaluation.auc)
    assert stored["deployed_auc"] == stored["deployed"]["auc"] == outcome.deployed.auc
    assert stored["deployed"]["locality"] == {"pooling": "box-7", "relative": False}


@pytest.mark.parametrize(
    ("options", "protocol"),
    [
        ({}, "published"),
        ({"score_weight": 0.6}, "own"),
        ({"pooling": "box-5"}, "own"),
        ({"smoothing": "causal"}, "own"),
        ({"normalisation": "global"}, "own"),
        ({"normalisation": "calibrated"}, "deployed"),
        ({"threshold": "calibrated"}, "deployed"),
    ],
)
def test_what_an_auc_is_called(run: Path, options: dict[str, Any], protocol: str) -> None:
    assert evaluate_run(EvaluateConfig(run, **options)).choices.protocol == protocol


def test_another_scale_of_normal_video_is_not_called_deployed(run: Path, synthetic: Path) -> None:
    score(ScoreConfig(run, synthetic, split="training", accelerator="cpu"))
    outcome = evaluate_run(EvaluateConfig(run, normalisation="train"))
    assert outcome.choices.protocol == "own"
    assert outcome.deployed is not None


def without_calibration(run: Path, _: Path) -> None:
    file = run / "checkpoint.safetensors"
    save_checkpoint(file, replace(load_checkpoint(run), calibration=None))


def without_checkpoint(run: Path, _: Path) -> None:
    (run / "checkpoint.safetensors").unlink()
    measured = load_measurements(run)
    save_measurements(run / "measurements.npz", replace(measured, protocol={**measured.protocol, "checkpoint": "gone"}))


def with_another_update(run: Path, data: Path) -> None:
    score(ScoreConfig(run, data, update="none", accelerator="cpu"))


def looking_ahead(run: Path, data: Path) -> None:
    calibrate(CalibrateConfig(run, data, fps=25, smoothing="gaussian", accelerator="cpu"))


def of_a_later_version(run: Path, _: Path) -> None:
    checkpoint = load_checkpoint(run)
    assert checkpoint.calibration is not None
    calibration = {**checkpoint.calibration, "locality": {"pooling": "box-99", "relative": False}}
    save_checkpoint(run / "checkpoint.safetensors", replace(checkpoint, calibration=calibration))


def scored_before_a_relative_one(run: Path, data: Path) -> None:
    calibrate(CalibrateConfig(run, data, fps=25, relative=True, accelerator="cpu"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (without_calibration, "holds no calibration; make one with: mnad calibrate"),
        (without_checkpoint, "there is no checkpoint at gone"),
        (with_another_update, "for the test-time update carried-over .* measured with none"),
        (looking_ahead, r"smooths by frames to come \(gaussian\)"),
        (of_a_later_version, "pooling must be one of mean, box-3"),
        (scored_before_a_relative_one, "measured before the model was calibrated"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_why_there_is_none(
    run: Path, synthetic: Path, change: Any, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run, synthetic)
    outcome = evaluate_run(EvaluateConfig(run))
    assert outcome.deployed is None
    assert outcome.not_deployed is not None
    assert outcome.evaluation is not None  # the published one all the same
    assert re.search(why, outcome.not_deployed)
    assert main(["evaluate", str(run)]) == 0
    assert "deployed AUC not known" in " ".join(capsys.readouterr().out.split())


def test_a_misfit_is_not_called_deployed_with_a_threshold_either(run: Path, synthetic: Path) -> None:
    with_another_update(run, synthetic)
    with pytest.warns(UserWarning, match="for the test-time update carried-over"):
        outcome = evaluate_run(EvaluateConfig(run, threshold="calibrated"))
    assert outcome.deployed is None
    assert evaluate_run(EvaluateConfig(run)).choices.protocol == "own"  # the published update is another


def test_calibrations_of_earlier_versions_are_of_the_whole_frame(run: Path) -> None:
    checkpoint = load_checkpoint(run)
    assert checkpoint.calibration is not None
    earlier = {name: value for name, value in checkpoint.calibration.items() if name not in ("locality", "usual")}
    calibration = Calibration.from_dict(earlier, run)
    assert (calibration.locality.pooling, calibration.usual) == ("mean", None)


def test_the_pixel_auc_of_the_score_is_of_its_maps(run: Path, synthetic: Path) -> None:
    score(ScoreConfig(run, synthetic, maps=True, accelerator="cpu"))
    published, calibrated = (evaluate_run(EvaluateConfig(run, threshold=each)) for each in (None, "calibrated"))
    assert published.pixels is not None
    assert published.score_pixels is None
    assert calibrated.pixels == published.pixels
    assert calibrated.score_pixels is not None
    assert calibrated.score_pixels.auc != calibrated.pixels.auc
