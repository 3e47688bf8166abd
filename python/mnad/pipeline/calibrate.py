"""``mnad calibrate``: measures held-out normal video and stores thresholds in the checkpoint."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.checkpoint import Checkpoint, check_own, load_checkpoint, save_calibration
from mnad.artifacts.measurements import Measurements
from mnad.data.clips import common_rate, tails
from mnad.data.options import DataOptions
from mnad.data.steadiness import moves
from mnad.evaluation.calibration import Calibration, check_rates, find_thresholds
from mnad.evaluation.locality import Locality, localised
from mnad.evaluation.normalisation import Scaling, bounds_of
from mnad.evaluation.scores import CAMERA, abnormality, check_weight, settle_weight
from mnad.evaluation.smoothing import Smoothing, SmoothingName
from mnad.measuring import measure
from mnad.measuring.map_recorder import ErrorRecorder
from mnad.measuring.options import UpdateOptions
from mnad.measuring.pooling import Pooling
from mnad.pipeline.learn_usual import learn_usual
from mnad.pipeline.model_clips import open_as_trained
from mnad.pipeline.score import update_threshold
from mnad.runtime.devices import DeviceOption, choose_device
from mnad.runtime.engine import EngineOptions
from mnad.runtime.errors import ConfigError, DataError
from mnad.runtime.places import Place
from mnad.runtime.progress import without_passwords
from mnad.runtime.version import __version__

LAST_TENTH = 0.1


@dataclass(frozen=True)
class CalibrateConfig(EngineOptions, UpdateOptions, DeviceOption, DataOptions):
    """Options of a calibration.

    Attributes:
        run: A run's folder, a checkpoint file or exported weights; the calibration is stored there.
        data: The training data. The end of each training video is used: the share that the run held out, or the last
            tenth. Other normal video with --whole.
        false_alarms_per_hour: Rates of false alarms, a threshold for each; the first is the one that is used if none
            is named.
        fps: Frames of a second; those of the video if left out. Images do not say: UCSD Ped2 has 10, ShanghaiTech 24.
        pooling: Which part of the frame PSNR is of: mean, all of it (published); box-3, box-5, box-7, box-9 or box-17
            of 64 cells across, or top-1% or top-5% of the cells, where its error is largest.
        relative: Whether errors count in relation to what is usual at their place, which is learned, too.
        score_weight: Share of PSNR in the score, from 0 to 1, or max for the larger of its two parts, that of PSNR and
            that of the distance; 0.8 if left out, and 1 for a model without memory.
        smoothing: Of the scores: none, gaussian, median, or causal, which looks at the past alone.
        smoothing_width: In frames: standard deviation of gaussian, length of the others.
        seed: Repeats the draws of videos that tell the spread of a threshold.
        whole: Whether the model was trained on none of the data, as a recording of the camera that was made since: then
            all of it is used.
    """

    run: Path
    data: Place
    false_alarms_per_hour: tuple[float, ...] = (1, 10, 60)
    fps: float | None = None
    pooling: Pooling = CAMERA.locality.pooling
    relative: bool = CAMERA.locality.relative
    score_weight: float | Literal["max"] | None = None
    smoothing: SmoothingName = CAMERA.smoothing.name
    smoothing_width: int = CAMERA.smoothing.width
    seed: int = 0
    whole: bool = False

    def __post_init__(self) -> None:
        """Checks the ranges, before anything is measured."""
        super().__post_init__()
        self.check_engine()
        _ = self.locality
        if not self.false_alarms_per_hour:
            raise ConfigError("false_alarms_per_hour must name at least one rate")
        if self.fps is not None:
            check_rates(self.false_alarms_per_hour, self.fps)
        Smoothing(self.smoothing, self.smoothing_width)
        check_weight(self.score_weight)

    def settled_fps(self, rates: Sequence[float | None]) -> float:
        """Returns the frames of a second: those that are given, or those of the videos.

        Raises:
            ConfigError: If neither says, or they are too few for the rates of false alarms.
        """
        fps = self.fps or common_rate(rates)
        if fps is None:
            raise ConfigError(
                "the videos do not say how many frames a second they have, or have different ones; give --fps"
            )
        check_rates(self.false_alarms_per_hour, fps)
        return fps

    @property
    def locality(self) -> Locality:
        """Which part of the frame is scored."""
        return Locality(self.pooling, self.relative)


class HeldOut(NamedTuple):
    """What was measured of the ends of the training videos.

    Attributes:
        measurements: Of N frames.
        errors: (N, G, G) float32, their error maps; none where they are not wanted.
        fps: Frames of a second.
        moves: Whether the camera seems to move.
    """

    measurements: Measurements
    errors: NDArray[np.float32]
    fps: float
    moves: bool


def calibrate(config: CalibrateConfig) -> Calibration:
    """Measures the ends of the training videos, or video that is new to the model, and stores the thresholds it finds.

    Raises:
        CheckpointError: If there is no usable checkpoint, or it was trained on meanwhile.
        DataError: If the data are not as they should be, or the ends too short or all alike.
        OutputError: If the checkpoint cannot be written.
    """
    check_own(config.run)
    checkpoint = load_checkpoint(config.run)
    held_out: float = 1.0 if config.whole else checkpoint.training.get("hold_out", 0)
    if not held_out:
        warnings.warn(
            "the run held nothing out: the last tenth of each training video is used, on which the model was trained "
            "if these are its data. Its scores there are too good and the thresholds too low; train with --hold-out "
            "0.1 for thresholds that hold",
            stacklevel=2,
        )
    share = held_out or LAST_TENTH
    if config.engine == "ray":
        from mnad.pipeline.held_out_on_cluster import measure_on_cluster

        ends = measure_on_cluster(config, checkpoint, share)
    else:
        ends = measure_here(config, checkpoint, share)
    if ends.moves:
        warnings.warn(
            "the camera seems to move: from one frame to the next most of the picture changes. Then normal frames are "
            "predicted badly too and the thresholds are high, and what is usual at a place means nothing",
            stacklevel=2,
        )
    measurements, usual = ends.measurements, None
    if config.relative:
        measurements, usual = learn_usual(measurements, ends.errors)
    calibration = _calibration(config, ends.fps, measurements, share, trained_on=not held_out)
    save_calibration(config.run, checkpoint, calibration.as_dict(), {} if usual is None else usual.tensors())
    return calibration


def measure_here(config: CalibrateConfig, checkpoint: Checkpoint, share: float) -> HeldOut:
    """Measures the ends of the videos in this process.

    Raises:
        ConfigError: If the frames a second are not known, or too few for the rates of false alarms.
        DataError: If the data are not as they should be, or the ends too short.
    """
    model = checkpoint.build_model().to(choose_device(config.accelerator))
    clips = open_as_trained(checkpoint, config.data, "training", config)
    fps = config.settled_fps(clips.rates)
    recorder = ErrorRecorder()
    with tempfile.TemporaryDirectory() as folder:
        ends = tails(clips, share, Path(folder))
        measured = measure(
            model,
            ends,
            maps=recorder if config.relative else None,
            update=config.update,
            update_threshold=update_threshold(config, checkpoint),
        )
    return HeldOut(measured, recorder.errors, fps, moves(clips))


def _calibration(
    config: CalibrateConfig, fps: float, measured: Measurements, share: float, *, trained_on: bool
) -> Calibration:
    measurements = localised(measured, config.locality)
    left_out = config.score_weight is None and measurements.protocol["memory"]
    weight = settle_weight(measurements, CAMERA.score_weight if left_out else config.score_weight)
    bounds, smoothing = bounds_of(measurements), Smoothing(config.smoothing, config.smoothing_width)
    if bounds.psnr[0] == bounds.psnr[1]:
        raise DataError(
            f"the {len(measurements)} frames that were held out have one and the same PSNR, which scales nothing: a "
            "scene in which nothing moves, or too few frames; hold out more, or other video"
        )
    scores = abnormality(measurements, weight, Scaling("calibrated", bounds), smoothing)
    return Calibration(
        score_weight=weight,
        locality=config.locality,
        bounds=bounds,
        smoothing=smoothing,
        fps=fps,
        thresholds=find_thresholds(scores, measurements.video, config.false_alarms_per_hour, fps, config.seed),
        frames=len(measurements),
        videos=len(set(measurements.video.tolist())),
        hold_out=share,
        usual=measured.protocol["usual"],
        trained_on=trained_on,
        update=measurements.protocol["update"],
        update_threshold=measurements.protocol["update_threshold"],
        data=without_passwords(str(config.data)),
        version=__version__,
    )
