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
from mnad.artifacts.measurements import load_measurements

from pages import DOCS
from provenance import provenance

TRAINING: dict[str, Any] = {
    "size": 64, "width": 8, "epochs": 5, "stride": 2, "learning_rate": 1e-3, "hold_out": 0.2, "accelerator": "cpu",
}  # fmt: skip
LAMBDAS = (0, 0.2, 0.4, 0.6, 0.8, 1)
NORMALISATIONS = ("per-video", "global", "train", "causal", "calibrated")
SMOOTHINGS = (("none", None), ("gaussian", 5), ("median", 9), ("causal", 5), ("causal", 15))


def record(data: Path, runs: Path) -> None:
    """Trains, scores by each way of updating, and evaluates by each other choice."""
    stamp = provenance("MNAD_PED2=FOLDER python docs/tools/record_protocol.py")
    run = runs / "prediction"
    mnad.train(data, run, **TRAINING)
    mnad.score(run, data, accelerator="cpu")
    mnad.score(run, data, split="training", accelerator="cpu")
    mnad.calibrate(run, data, fps=10, accelerator="cpu")
    published = load_measurements(run)
    (run / "updates").mkdir()
    often = float(np.median(published.update_error))
    result = {
        **stamp,
        "training": TRAINING,
        "lambda": [{"lambda": value, "auc": auc(run, score_weight=value)} for value in LAMBDAS],
        "normalisation": [
            {
                "normalisation": name,
                **{f"auc, lambda {value}": auc(run, normalisation=name, score_weight=value) for value in (0.6, 1)},
            }
            for name in NORMALISATIONS
        ],  # fmt: skip
        "smoothing": [
            {
                "smoothing": name if width is None else f"{name}, {width} frames",
                "looks ahead": name in ("gaussian", "median"),
                "auc, per-video": auc(run, smoothing=name, smoothing_width=width),
                "auc, calibrated": auc(run, smoothing=name, smoothing_width=width, normalisation="calibrated"),
            }
            for name, width in SMOOTHINGS
        ],
        "update": [update(run, data, scope, threshold) for scope, threshold in updates(often)],
        "pooling": pooling(run),
    }
    (DOCS / "results" / "protocol-ped2.json").write_text(json.dumps(result, indent=2) + "\n")


def updates(often: float) -> list[tuple[str, float | None]]:
    """Returns the ways of updating: none, the published threshold, and one that half of the frames are below."""
    return [("none", None), ("carried-over", None), ("carried-over", often), ("per-video", often)]


def update(run: Path, data: Path, scope: str, threshold: float | None) -> dict[str, Any]:
    """Scores with a test-time update of its own, beside the run's measurements."""
    options = {} if threshold is None else {"update_threshold": threshold}
    file = mnad.score(run, data, update=scope, out=run / "updates" / f"{scope}-{threshold}.npz", **options)
    measured = load_measurements(file)
    return {
        "update": scope,
        "threshold of E_t": threshold,
        "frames that updated": int(measured.updated.sum()),
        "auc": auc(file),
        "auc, lambda 0 (D alone)": auc(file, score_weight=0),
    }


def auc(run: Path, **options: Any) -> float:
    """Returns the frame AUC in per cent, all frames pooled."""
    given = {name: value for name, value in options.items() if value is not None}
    return 100 * mnad.evaluate(run, **given).evaluation.auc


def pooling(run: Path) -> dict[str, float]:
    """Returns the two AUCs by the published scores."""
    found = mnad.evaluate(run).evaluation
    return {"pooled over all frames": 100 * found.auc, "mean of the videos": 100 * found.macro_auc}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        record(Path(os.environ["MNAD_PED2"]), Path(temporary))
