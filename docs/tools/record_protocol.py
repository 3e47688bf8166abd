"""Measures what each choice of the protocol does to the AUC of one small model on UCSD Ped2.

MNAD_PED2=FOLDER python docs/tools/record_protocol.py    writes docs/results/protocol-ped2.json
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import mnad
import numpy as np
from mnad.artifacts.measurements import Measurements, load_measurements
from mnad.evaluation import Scaling, Smoothing, bounds_of, evaluate
from pages import DOCS
from provenance import provenance

TRAINING: dict[str, Any] = {
    "size": 64, "width": 8, "epochs": 5, "stride": 2, "learning_rate": 1e-3, "hold_out": 0.2, "accelerator": "cpu",
}  # fmt: skip
LAMBDAS = (0, 0.2, 0.4, 0.6, 0.8, 1)
SMOOTHINGS = (
    Smoothing(),
    Smoothing("gaussian", 5),
    Smoothing("median", 9),
    Smoothing("causal", 5),
    Smoothing("causal", 15),
)

# Each choice is shown on the published score.
PUBLISHED_SCORE = {"pooling": "mean", "relative": False, "score_weight": 0.6, "smoothing": "none"}


def record(data: Path, runs: Path) -> None:
    """Trains, scores by each way of updating, and evaluates by each other choice."""
    stamp = provenance("MNAD_PED2=FOLDER python docs/tools/record_protocol.py")
    run = runs / "prediction"
    mnad.train(data, run, **TRAINING)
    mnad.score(run, data, accelerator="cpu")
    mnad.score(run, data, split="training", accelerator="cpu")
    calibration = mnad.calibrate(run, data, fps=10, accelerator="cpu", **PUBLISHED_SCORE)
    measured, training = load_measurements(run), load_measurements(run / "measurements-training.npz")
    scalings = (
        Scaling(),
        Scaling("global"),
        Scaling("train", bounds_of(training)),
        Scaling("causal"),
        calibration.scaling,
    )
    found = evaluate(measured)
    result = {
        **stamp,
        "training": TRAINING,
        "pooling": {"all frames": 100 * found.auc, "mean of the videos": 100 * found.macro_auc},
        "lambda": [{"lambda": weight, "auc": auc(measured, weight)} for weight in LAMBDAS],
        "normalisation": [
            {
                "normalisation": scaling.name,
                "auc, lambda 0.6": auc(measured, 0.6, scaling),
                "auc, lambda 1": auc(measured, 1, scaling),
            }
            for scaling in scalings
        ],
        "smoothing": [
            {
                "smoothing": smoothing.name,
                "frames": None if smoothing.name == "none" else smoothing.width,
                "looks ahead": smoothing.looks_ahead,
                "auc, per-video": auc(measured, 0.6, Scaling(), smoothing),
                "auc, calibrated": auc(measured, 0.6, calibration.scaling, smoothing),
            }
            for smoothing in SMOOTHINGS
        ],
        "update": [
            update(run, data, scope, threshold) for scope, threshold in updates(float(np.median(measured.update_error)))
        ],
    }
    (DOCS / "results" / "protocol-ped2.json").write_text(json.dumps(result, indent=2) + "\n")


def updates(often: float) -> list[tuple[str, float | None]]:
    """Returns the ways of updating: none, the published threshold, and one that half of the frames are below."""
    return [("none", None), ("carried-over", None), ("carried-over", often), ("per-video", often)]


def update(run: Path, data: Path, scope: str, threshold: float | None) -> dict[str, Any]:
    """Scores with a test-time update of its own, beside the run's measurements."""
    options = {} if threshold is None else {"update_threshold": threshold}
    file = mnad.score(run, data, update=scope, out=run / "measurements-update.npz", **options)
    measured = load_measurements(file)
    return {
        "update": scope,
        "threshold of E_t": threshold,
        "frames that updated": int(measured.updated.sum()),
        "auc, lambda 0.6": auc(measured, 0.6),
        "auc, lambda 0": auc(measured, 0),
    }


def auc(measured: Measurements, *choices: Any) -> float:
    """Returns the frame AUC in per cent, all frames pooled."""
    return 100 * evaluate(measured, *choices).auc


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        record(Path(os.environ["MNAD_PED2"]), Path(temporary))
