"""What an evaluation finds, and its files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.maps import FrameMaps
from mnad.artifacts.measurements import Measurements
from mnad.evaluation.calibration import Calibration
from mnad.evaluation.confidence import Interval
from mnad.evaluation.detection import Detection, frames_within
from mnad.evaluation.events import Alarm
from mnad.evaluation.lambda_sweep import Sweep
from mnad.evaluation.localisation import PixelMetrics
from mnad.evaluation.score_map import ScoreMapping, score_maps
from mnad.evaluation.scores import Choices
from mnad.evaluation.summary import Evaluation
from mnad.runtime.files import atomic_write

# What differs between one score of the same frames and another.
DEPLOYED = (
    "auc", "macro_auc", "auc_by_video", "average_precision", "eer", "score_weight", "locality", "normalisation",
    "smoothing", "smoothing_width",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """All that an evaluation found; what was not asked for, or cannot be had, is None.

    Attributes:
        measurements: What was evaluated, with the labels that were used.
        scores: (N,), the score of each frame.
        choices: How the scores were made.
        evaluation: Metrics against the labels.
        deployed: The same of the score that a :class:`mnad.Detector` gives: by the checkpoint's calibration, so with
            one scale for all videos, past frames alone, and everything chosen from normal video.
        not_deployed: Why there is no such evaluation.
        interval: Their confidence.
        sweep: The AUC of each lambda.
        pixels: The pixel AUC of the error, where there are maps and masks.
        score_pixels: That of the score's maps, where a part of the frame is scored.
        mapping: How maps of the score are made; None where the score is of the whole frame.
        detection: Alarms and their metrics, where there is a threshold.
        calibration: The calibration that was used.
    """

    measurements: Measurements
    scores: NDArray[np.float64]
    choices: Choices
    evaluation: Evaluation | None
    deployed: Evaluation | None
    not_deployed: str | None
    interval: Interval | None
    sweep: Sweep | None
    pixels: PixelMetrics | None
    score_pixels: PixelMetrics | None
    mapping: ScoreMapping | None
    detection: Detection | None
    calibration: Calibration | None

    @property
    def chosen_on_test(self) -> tuple[str, ...]:
        """Names what the test set's own labels chose: no metrics to compare a model by."""
        chosen = ["eer_threshold"] if self.evaluation is not None else []
        return (*chosen, "sweep.best_weight", "sweep.best_auc") if self.sweep is not None else tuple(chosen)

    def score_maps(self, maps: FrameMaps) -> NDArray[np.float16] | None:
        """Returns where in the frames the score comes from, (N, G, G); None if that is the error of the whole frame.

        Args:
            maps: Of the frames that were measured.
        """
        return None if self.mapping is None else score_maps(maps, self.mapping)

    def as_dict(self) -> dict[str, Any]:
        """Returns all but the frames' scores as plain values."""
        metrics = {**asdict(self.choices), "protocol": self.measurements.protocol}
        if self.evaluation is not None:
            metrics = self.evaluation.as_dict()
        parts = {
            name: None if (part := getattr(self, name)) is None else asdict(part)
            for name in ("interval", "sweep", "pixels", "score_pixels", "detection")
        }
        calibration = None if self.calibration is None else self.calibration.as_dict()
        deployed = None if self.deployed is None else self.deployed.as_dict()
        return {
            **metrics,
            "evaluated_by": self.choices.protocol,
            "deployed_auc": None if self.deployed is None else self.deployed.auc,
            "deployed": deployed if deployed is None else {name: deployed[name] for name in DEPLOYED},
            "not_deployed": self.not_deployed,
            **parts,
            "calibration": calibration,
            "chosen_on_test": list(self.chosen_on_test),
        }


def write_outcome(folder: Path, outcome: Outcome) -> list[Path]:
    """Writes ``evaluation.json``, ``frames.csv``, ``videos.csv`` and, if asked for, ``sweep.csv`` and ``events.csv``.

    Returns:
        The files.

    Raises:
        OutputError: If they cannot be written.
    """
    written = [folder / "evaluation.json"]
    with atomic_write(written[0]) as temporary:
        temporary.write_text(json.dumps(outcome.as_dict(), indent=2) + "\n")
    tables = {"frames.csv": _frames(outcome), "videos.csv": _videos(outcome)}
    if outcome.sweep is not None:
        pairs = zip(outcome.sweep.weights, outcome.sweep.aucs, strict=True)
        tables["sweep.csv"] = (("lambda", "auc"), pairs)
    if outcome.detection is not None:
        names = tuple(field.name for field in fields(Alarm))
        tables["events.csv"] = (names, (asdict(alarm).values() for alarm in outcome.detection.alarms))
    for name, (header, rows) in tables.items():
        with atomic_write(folder / name) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
        written.append(folder / name)
    return written


Table = tuple[Sequence[str], Iterable[Iterable[Any]]]


def _frames(outcome: Outcome) -> Table:
    measurements = outcome.measurements
    columns: dict[str, Any] = {
        "video": [measurements.videos[index] for index in measurements.video],
        "frame": measurements.frame.tolist(),
        "score": outcome.scores.tolist(),
        "psnr": measurements.psnr.tolist(),
    }
    if measurements.protocol["memory"]:
        columns["distance"] = measurements.distance.tolist()
    if measurements.labels is not None:
        columns["abnormal"] = measurements.labels.astype(np.int8).tolist()
    if outcome.detection is not None:
        columns["alarm"] = frames_within(measurements, outcome.detection.alarms).astype(np.int8).tolist()
    return tuple(columns), zip(*columns.values(), strict=True)


def _videos(outcome: Outcome) -> Table:
    measurements, evaluation = outcome.measurements, outcome.evaluation
    rows = []
    for index, name in enumerate(measurements.videos):
        chosen = measurements.video == index
        abnormal = "" if measurements.labels is None else int(measurements.labels[chosen].sum())
        auc = None if evaluation is None else evaluation.auc_by_video[name]
        rows.append((name, int(chosen.sum()), abnormal, "" if auc is None else auc))
    return ("video", "frames", "abnormal", "auc"), rows
