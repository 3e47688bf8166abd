"""The paper's figures 6 to 9: both models on each kind of synthetic anomaly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnad.analysis import middle_of_anomaly, restore
from mnad.artifacts.measurements import Measurements
from mnad.data import Clips, kinds_of
from mnad.evaluation import abnormality, pooled_auc
from mnad.models import PresetName
from mnad.report.anomaly_plot import AnomalyRow, draw_anomalies
from mnad.reproduction.published import MODELS, PREDICTION, RECONSTRUCTION
from mnad.reproduction.results import Result, Value
from mnad.reproduction.runner import MeasurementSpec, Runner, TrainingSpec

PRESETS: tuple[PresetName, ...] = (PREDICTION, RECONSTRUCTION)


def anomaly_specs(runner: Runner, seeds: Sequence[int]) -> list[MeasurementSpec]:
    """Returns the measurement specs that figures 6 to 9 need."""
    return [MeasurementSpec(TrainingSpec(preset, "synthetic", seed=seeds[0])) for preset in PRESETS]


def figures6_to_9(runner: Runner, seeds: Sequence[int], out: Path, plot: str = "anomalies.png") -> Result:
    """Tabulates errors and AUCs by kind of anomaly and draws a frame of each."""
    kinds = kinds_of(runner.path("synthetic"))
    specs = anomaly_specs(runner, seeds)
    measured = {spec.training.preset: runner.measured(spec) for spec in specs}
    aucs = {preset: auc_by_kind(measurements, kinds) for preset, measurements in measured.items()}
    rows: list[dict[str, Value]] = [
        {
            "kind of anomaly": kind,
            "model": MODELS[preset],
            **_metrics(measured[preset], kinds, kind, aucs[preset][kind]),
        }
        for kind in dict.fromkeys(kinds.values())
        for preset in PRESETS
    ]
    draw_anomalies(out / plot, _drawn(runner, specs, measured, kinds))
    return Result(
        "figures6-9",
        "synthetic anomalies",
        rows,
        [
            "Circles at one speed are normal. MSE is the mean over the frames, on pixels from 0 to 1; AUC in per cent "
            "over the frames of the videos of that kind, published lambda, P and D normalised per video. "
            "Reconstruction, which is shown the frame itself, restores what moves wrongly as well as what moves as it "
            "should; prediction does not."
        ],
        plots={plot: "A frame of each kind: shown, wanted, given, error, and the score over the video."},
    )


def auc_by_kind(measurements: Measurements, kinds: Mapping[str, str]) -> dict[str, float]:
    """Returns the AUC, in [0, 1], of the frames of each kind's videos."""
    scores = abnormality(measurements)
    of_frame = _kind_of_frame(measurements, kinds)
    return {kind: pooled_auc(measurements, scores, of_frame == kind) for kind in dict.fromkeys(kinds.values())}


def _kind_of_frame(measurements: Measurements, kinds: Mapping[str, str]) -> NDArray[np.str_]:
    return np.array([kinds[measurements.videos[index]] for index in measurements.video])


def _metrics(measurements: Measurements, kinds: Mapping[str, str], kind: str, auc: float) -> dict[str, Value]:
    assert measurements.labels is not None
    mine = _kind_of_frame(measurements, kinds) == kind
    normal, abnormal = (measurements.mse[mine & (measurements.labels == label)].mean() for label in (False, True))
    return {
        "MSE, normal frames": float(normal),
        "MSE, abnormal frames": float(abnormal),
        "ratio": float(abnormal / normal),
        "AUC": 100 * auc,
    }


def _drawn(
    runner: Runner,
    specs: Sequence[MeasurementSpec],
    measured: Mapping[PresetName, Measurements],
    kinds: Mapping[str, str],
) -> list[AnomalyRow]:
    clips: Clips = runner.clips("synthetic")
    models = {spec.training.preset: runner.model(spec.training) for spec in specs}
    scores = {preset: abnormality(measurements) for preset, measurements in measured.items()}
    first_of_kind = {kind: video for video, kind in reversed(list(kinds.items()))}
    rows = []
    for kind in dict.fromkeys(kinds.values()):
        video = first_of_kind[kind]
        frame = middle_of_anomaly(clips, video)
        for preset, measurements in measured.items():
            mine = measurements.video == measurements.videos.index(video)
            assert measurements.labels is not None
            rows.append(
                AnomalyRow(
                    f"{kind}\n{preset}",
                    restore(models[preset], clips, frame),
                    measurements.frame[mine],
                    scores[preset][mine],
                    measurements.labels[mine],
                    frame - int(clips.starts[clips.names.index(video)]),
                )
            )
    return rows
