"""What the script of a report works on, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnad.analysis import shares
from mnad.artifacts.measurements import Measurements
from mnad.report.judgement import Judgement
from mnad.report.layers import canvas_size, palette_text
from mnad.report.material import Material
from mnad.report.sprites import COLUMNS, TILES, Layer
from mnad.report.words import training_charts

MOST_POINTS = 600


def page_data(material: Material, judgement: Judgement, layers: Sequence[Layer], opening: int) -> dict[str, Any]:
    """Returns all but the pictures.

    Args:
        material: Of the run.
        judgement: Of its measurements.
        layers: The pictures of each frame.
        opening: The row of the measurements that the page opens with.
    """
    measurements = judgement.measurements
    video = int(measurements.video[opening])
    return {
        "videos": [_video(measurements, judgement, index) for index in range(len(measurements.videos))],
        "threshold": judgement.threshold,
        "rule": asdict(judgement.detection.rule),
        "fps": judgement.detection.fps,
        "span": judgement.span,
        "labelled": measurements.labels is not None,
        "layers": [
            {
                "name": layer.name,
                "height": layer.tiles.shape[1],
                "width": layer.tiles.shape[2],
                "palette": layer.is_map,
                "canvas": canvas_size(layer),
            }
            for layer in layers
        ],
        "grid": {"columns": COLUMNS, "tiles": TILES},
        "palette": palette_text(),
        "start": {"video": video, "row": opening - int(judgement.videos[video].rows[0])},
        "charts": {
            **_quality(judgement),
            "usage": item_usage(measurements),
            "training": _training(material),
        },
    }


def item_usage(measurements: Measurements) -> dict[str, Any]:
    """Returns the share of the queries that are nearest to each item, in normal and in abnormal frames if labelled."""
    labels = measurements.labels
    sets = {"all frames": np.ones(len(measurements), bool)}
    if labels is not None:
        sets = {"normal frames": ~labels, "abnormal frames": labels}
    series = []
    for label, chosen in sets.items():
        series.append({"label": label, "values": shares(measurements.nearest[chosen]).round(5).tolist()})
    return {"series": series}


def thin_out(x: NDArray[np.float64], y: NDArray[np.float64]) -> dict[str, list[float]]:
    """Leaves enough points of a curve to draw it, the ends included."""
    chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(int))
    return {"x": x[chosen].round(4).tolist(), "y": y[chosen].round(4).tolist()}


def _video(measurements: Measurements, judgement: Judgement, index: int) -> dict[str, Any]:
    video = judgement.videos[index]
    scores = judgement.scores[video.rows]
    return {
        "name": measurements.videos[index],
        "frames": measurements.frame[video.rows].tolist(),
        "scores": scores.tolist(),  # exact, as the threshold may be one of them
        "alarms": [(alarm.first, alarm.last) for alarm in video.alarms],
        "labelled": [(event.first, event.last) for event in video.labelled],
        "peak": int(np.argmax(scores)) if len(scores) else 0,
        "kept": None,
    }


def _quality(judgement: Judgement) -> dict[str, Any]:
    evaluation = judgement.evaluation
    if evaluation is None:
        return {}
    false_alarm_rate, recall, precision = judgement.frames_above()
    return {
        "roc": {**thin_out(*judgement.roc()), "dot": [false_alarm_rate, recall]},
        "precision": {
            **thin_out(*judgement.precision_recall()),
            "dot": [recall, precision],
            "chance": evaluation.abnormal / evaluation.frames,
        },
    }


def _training(material: Material) -> list[dict[str, Any]]:
    epochs = material.curves.get("step", [])
    return [
        {
            "x": epochs,
            "series": [{"label": name.replace("_", " "), "values": material.curves[name]} for name in columns],
        }
        for _, _, columns in training_charts(list(material.curves))
    ]
