"""The files of an evaluation."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from mnad.evaluation.detection import frames_within
from mnad.evaluation.events import Alarm
from mnad.pipeline.evaluate import Outcome
from mnad.runtime.files import atomic_write


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
