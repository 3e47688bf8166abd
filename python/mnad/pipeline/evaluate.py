"""``mnad evaluate``: from the files of a run to all that can be said of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.maps import load_maps, maps_beside
from mnad.artifacts.measurements import Measurements, load_measurements, measurements_file
from mnad.data import Clips, open_clips
from mnad.data.clips import common_rate
from mnad.data.options import DataOptions
from mnad.evaluation.calibration import Calibration
from mnad.evaluation.checks import check_measurements, check_same_frames, check_same_model, with_labels
from mnad.evaluation.confidence import bootstrap
from mnad.evaluation.detection import Detection, detect
from mnad.evaluation.events import EventOptions
from mnad.evaluation.lambda_sweep import sweep
from mnad.evaluation.localisation import PixelMetrics, pixel_metrics
from mnad.evaluation.locality import WHOLE_FRAME, Locality, localised
from mnad.evaluation.metrics import one_kind
from mnad.evaluation.normalisation import Normalisation, Scaling, bounds_of
from mnad.evaluation.score_map import ScoreMapping, channels_of, score_maps
from mnad.evaluation.scores import Choices, ScoreWeightOption, Scoring, abnormality, check_weight
from mnad.evaluation.smoothing import Smoothing, SmoothingName
from mnad.evaluation.summary import Evaluation, metrics_of
from mnad.measuring.pooling import Pooling
from mnad.pipeline.calibrated import find_calibration, find_usual, other_update, warn_of_misfit
from mnad.pipeline.outcome import Outcome
from mnad.runtime.choices import check_choices
from mnad.runtime.errors import ConfigError, DataError, MnadError
from mnad.runtime.places import Place, exists, is_file, place


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(ScoreWeightOption, EventOptions, DataOptions):
    """How measurements become scores and alarms. What is left out is published practice, or the calibration's.

    Attributes:
        pooling: Which part of the frame PSNR is of: mean, all of it (published), the box of box-3, box-5, box-7, box-9
            or box-17 of 64 cells across where the error is largest, or the cells of top-1% or top-5%.
        relative: Whether errors count in relation to what mnad calibrate found usual at their place.
        normalisation: Whose lowest and highest values scale P and D: those of the whole video (per-video, published),
            of all frames (global), of the training set's own measurements (train), of the video's past (causal), or
            of the calibration's frames (calibrated).
        training: The measurements of the training set, for train; measurements-training.npz in the run's folder, where
            mnad score --split training puts them, if left out.
        smoothing: Of the scores: none (published), gaussian, median, or causal, which looks at the past alone.
        smoothing_width: In frames: standard deviation of gaussian, length of the others.
        threshold: A score above which a frame is an alarm, or calibrated for the one in the checkpoint.
        false_alarms_per_hour: Which of the calibrated thresholds; the first if left out.
        data: The data set, for masks and other labels; where the measurements were made of it if left out.
        labels: A label set of the data by its name, or a label file, in place of the labels that were measured with.

    Raises:
        ConfigError: If options do not fit each other.
    """

    pooling: Pooling | None = None
    relative: bool | None = None
    normalisation: Normalisation | None = None
    training: Place | None = None
    smoothing: SmoothingName | None = None
    smoothing_width: int | None = None
    threshold: float | Literal["calibrated"] | None = None
    false_alarms_per_hour: float | None = None
    data: Place | None = None
    labels: str | None = None

    def __post_init__(self) -> None:
        """Checks what can be checked before anything is read."""
        check_choices(self)
        if self.training is not None and self.normalisation != "train":
            raise ConfigError(
                "training names measurements for the normalisation train: give --normalisation train, too"
            )
        if self.false_alarms_per_hour is not None and self.threshold != "calibrated":
            raise ConfigError("false_alarms_per_hour chooses among calibrated thresholds: give --threshold calibrated")
        alarm_options = self.hysteresis or self.merge_gap or self.min_length != 1
        if alarm_options and self.threshold is None:
            raise ConfigError("hysteresis, merge_gap and min_length are of events: give --threshold, too")
        if self.smoothing_width is not None and self.smoothing is None:
            raise ConfigError("smoothing_width is of a smoothing: give --smoothing, too")
        self.alarm_rule(0)
        check_weight(self.score_weight)
        if not self.uses_calibration:
            _ = self.locality

    @property
    def uses_calibration(self) -> bool:
        """Whether the checkpoint's calibration is needed."""
        return self.threshold == "calibrated" or self.normalisation == "calibrated"

    @property
    def locality(self) -> Locality:
        """Which part of the frame is scored where no calibration says so."""
        return Locality(self.pooling or "mean", bool(self.relative))

    def of(self, run: Place) -> EvaluateConfig:
        """Returns the evaluation of a run, or of a file of measurements, by these options."""
        return EvaluateConfig(run, **{each.name: getattr(self, each.name) for each in fields(EvaluationOptions)})


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(EvaluationOptions):
    """Options of an evaluation.

    Attributes:
        run: A run's folder, or a file of measurements, or the address of one.
        sweep: Whether to compute the AUC of every lambda from 0 to 1 by 0.01.
        fps: Frames of a second; those of the video, or else of the calibration, if left out.
        bootstrap: How often to draw the videos anew for confidence intervals; 0 for none.
        seed: Repeats these draws.
        out: A folder for evaluation.json and tables as CSV; nothing is written if left out.
    """

    run: Place = field(kw_only=False)
    sweep: bool = False
    fps: float | None = None
    bootstrap: int = 0
    seed: int = 0
    out: Path | None = None

    def __post_init__(self) -> None:
        """Checks what can be checked before anything is read."""
        super().__post_init__()
        if self.bootstrap < 0:
            raise ConfigError(f"bootstrap must not be negative, got {self.bootstrap}")
        if self.fps is not None and self.threshold is None:
            raise ConfigError("fps is of events: give --threshold, too")

    @property
    def folder(self) -> Path:
        """The folder of the run; the one where we are for measurements at an address."""
        if not isinstance(self.run, Path):
            return Path()
        return self.run if self.run.is_dir() else self.run.parent


def evaluate_run(config: EvaluateConfig) -> Outcome:
    """Reads what a run has left and evaluates it.

    Raises:
        DataError: If files are missing, not whole, or do not belong together.
        ConfigError: If options do not fit each other or the model.
        CheckpointError: If the checkpoint of a calibration cannot be read.
    """
    measurements = load_measurements(config.run)
    check_measurements(measurements)
    clips = _clips(config, measurements)
    if clips is not None and config.labels is not None:
        measurements = with_labels(measurements, clips)
    fps = common_rate(measurements.protocol.get("rates", ()))
    calibration = None
    if config.uses_calibration:
        calibration = find_calibration(config.folder, measurements)
        warn_of_misfit(measurements, calibration, fps if config.fps is None else None)
    scoring, scaling = _how_to_score(config, measurements, calibration)
    scored = localised(measurements, scoring.locality)
    scores = abnormality(scored, scoring.score_weight, scaling, scoring.smoothing)
    choices = Choices.of(scored, scoring.score_weight, scaling, scoring.smoothing, calibrated=calibration is not None)
    labelled = measurements.labels is not None and not one_kind(measurements.labels)
    # Alarms can be had without labels; without alarms there is nothing to say and metrics_of tells why.
    evaluation = metrics_of(measurements, scores, choices) if labelled or config.threshold is None else None
    deployed, not_deployed = _deployed(config, measurements, evaluation, calibration)
    mapping = _mapping(config, scored, choices, scaling)
    pixels, score_pixels = _pixels(config, measurements, clips, mapping)
    return Outcome(
        measurements=measurements,
        scores=scores,
        choices=choices,
        evaluation=evaluation,
        deployed=deployed,
        not_deployed=not_deployed,
        interval=bootstrap(measurements, scores, config.bootstrap, config.seed) if config.bootstrap else None,
        sweep=sweep(scored, scaling, scoring.smoothing) if config.sweep else None,
        pixels=pixels,
        score_pixels=score_pixels,
        mapping=mapping,
        detection=_detection(config, measurements, scores, calibration, fps),
        calibration=calibration,
    )


def _deployed(
    config: EvaluateConfig,
    measurements: Measurements,
    evaluation: Evaluation | None,
    calibration: Calibration | None,
) -> tuple[Evaluation | None, str | None]:
    """Evaluates the score that a detector gives, by the calibration; or returns why that cannot be."""
    if evaluation is None:
        return None, "there are not labels of both kinds"
    try:
        calibration = calibration or find_calibration(config.folder, measurements)
    except MnadError as error:
        return None, str(error)
    if calibration.smoothing.looks_ahead:
        return None, f"the calibration smooths by frames to come ({calibration.smoothing.name})"
    if misfit := other_update(measurements, calibration):
        return None, misfit
    if evaluation.choices.protocol == "deployed":
        return evaluation, None
    scored = localised(measurements, calibration.locality)
    how = calibration.score_weight, calibration.scaling, calibration.smoothing
    choices = Choices.of(scored, *how, calibrated=True)
    return metrics_of(measurements, abnormality(scored, *how), choices), None


def _how_to_score(
    config: EvaluateConfig, measurements: Measurements, calibration: Calibration | None
) -> tuple[Scoring, Scaling]:
    if calibration is None:
        usual = Smoothing()
        smoothing = Smoothing(config.smoothing or usual.name, config.smoothing_width or usual.width)
        return Scoring(config.score_weight, config.locality, smoothing), _scaling(config, measurements)
    calibrated = {
        "lambda": (config.score_weight, calibration.score_weight),
        "pooling": (config.pooling, calibration.locality.pooling),
        "relative": (config.relative, calibration.locality.relative),
        "normalisation": (config.normalisation, "calibrated"),
        "smoothing": (config.smoothing, calibration.smoothing.name),
        "smoothing_width": (config.smoothing_width, calibration.smoothing.width),
    }
    for name, (given, stored) in calibrated.items():
        if given is not None and given != stored:
            raise ConfigError(
                f"the calibration is for {name} {stored} and means nothing for {given}; leave it out or calibrate again"
            )
    return calibration.scoring, calibration.scaling


def _scaling(config: EvaluateConfig, measurements: Measurements) -> Scaling:
    if config.normalisation != "train":
        return Scaling(config.normalisation or "per-video")
    file = config.training or measurements_file(config.folder, "training")
    if not is_file(file):
        raise DataError(
            f"the normalisation train needs the training set's measurements, and there are none at {file}; make them "
            "with: mnad score RUN --data DATA --split training"
        )
    training = load_measurements(file)
    check_measurements(training)
    check_same_model(measurements, training.protocol, f"the file {file}")
    if training.protocol.get("split") != "training":
        raise DataError(f"{file} is not of the training split: normalising by the test set is called global")
    if config.locality.relative and training.protocol.get("usual") != measurements.protocol.get("usual"):
        raise DataError(
            f"{file} was measured in relation to what another calibration found usual than the test frames; score both "
            "again"
        )
    return Scaling("train", bounds_of(localised(training, config.locality)))


def _detection(
    config: EvaluateConfig,
    measurements: Measurements,
    scores: NDArray[np.float64],
    calibration: Calibration | None,
    fps: float | None,
) -> Detection | None:
    if config.threshold is None:
        return None
    fps = config.fps or fps
    if config.threshold != "calibrated":
        return detect(measurements, scores, config.alarm_rule(config.threshold), fps)
    assert calibration is not None
    chosen = calibration.threshold_for(config.false_alarms_per_hour)
    rule = config.alarm_rule(chosen.threshold)
    return detect(measurements, scores, rule, fps or calibration.fps, chosen.false_alarms_per_hour)


def _clips(config: EvaluateConfig, measurements: Measurements) -> Clips | None:
    """Opens the data if they are needed: for other labels, or for masks where there are maps."""
    asked_for = config.data is not None or config.labels is not None
    if not asked_for and not is_file(_maps_file(config)):
        return None
    data = config.data or place(measurements.protocol["data"])
    if not asked_for and not exists(data):
        warnings.warn(f"no pixel AUC: the data are no longer at {data}; say where with --data", stacklevel=2)
        return None
    clips = open_clips(
        data,
        "testing",
        measurements.protocol["size"],
        image_channels=measurements.protocol["model"]["image_channels"],
        layout=config.layout,
        labels=config.labels,
        levels=measurements.protocol.get("levels"),
        cache=config.cache,
        progress=False,
    )
    check_same_frames(measurements, clips)
    return clips


def _pixels(
    config: EvaluateConfig, measurements: Measurements, clips: Clips | None, mapping: ScoreMapping | None
) -> tuple[PixelMetrics | None, PixelMetrics | None]:
    """Returns the pixel AUC of the error and that of the score."""
    file = _maps_file(config)
    if clips is None or clips.packed_masks is None or not is_file(file):
        return None, None
    try:
        maps = load_maps(file, measurements)
    except DataError as error:  # mnad score leaves the maps of an earlier pass where they are
        warnings.warn(f"no pixel AUC: {error}", stacklevel=2)
        return None, None
    of_error = pixel_metrics(measurements, maps.error, clips)
    if mapping is None:
        return of_error, None
    return of_error, pixel_metrics(measurements, score_maps(maps, mapping), clips)


def _mapping(config: EvaluateConfig, scored: Measurements, choices: Choices, scaling: Scaling) -> ScoreMapping | None:
    """Returns how maps of the score are made; None where it is of the whole frame, or there are no maps."""
    if choices.locality == WHOLE_FRAME or not is_file(_maps_file(config)):
        return None
    bounds = scaling.bounds or bounds_of(scored)
    usual = find_usual(config.folder, scored) if choices.locality.relative else None
    return ScoreMapping(choices.score_weight, choices.locality, bounds, channels_of(scored), usual)


def _maps_file(config: EvaluateConfig) -> Place:
    return maps_beside(measurements_file(config.run))
