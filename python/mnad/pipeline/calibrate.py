"""``mnad calibrate``: measures held-out normal video and stores thresholds in the checkpoint."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnad.artifacts.checkpoint import load_checkpoint, save_calibration
from mnad.data import Clips
from mnad.data.clips import common_rate, tails
from mnad.data.options import DataOptions
from mnad.evaluation.calibration import Calibration, check_rates, find_thresholds
from mnad.evaluation.normalisation import Scaling, bounds_of
from mnad.evaluation.scores import ScoreWeightOption, abnormality, settle_weight
from mnad.evaluation.smoothing import Smoothing, SmoothingName
from mnad.measuring import measure
from mnad.measuring.options import UpdateOptions
from mnad.models import Autoencoder
from mnad.models.presets import RECIPES
from mnad.pipeline.model_clips import open_as_trained
from mnad.runtime.devices import DeviceOption, choose_device
from mnad.runtime.errors import ConfigError, DataError
from mnad.runtime.version import __version__

LAST_TENTH = 0.1


@dataclass(frozen=True)
class CalibrateConfig(UpdateOptions, DeviceOption, DataOptions, ScoreWeightOption):
    """Options of a calibration.

    Attributes:
        run: A run's folder, a checkpoint file or exported weights; the calibration is stored there.
        data: The training data. The end of each training video is used: the share that the run held out, or the last
            tenth.
        false_alarms_per_hour: Rates of false alarms, a threshold for each; the first is the one that is used if none
            is named.
        fps: Frames of a second; those of the video if left out. Images do not say: UCSD Ped2 has 10, ShanghaiTech 24.
        smoothing: Of the scores: none, gaussian, median, or causal, which looks at the past alone.
        smoothing_width: In frames: standard deviation of gaussian, length of the others.
        seed: Repeats the draws of videos that tell the spread of a threshold.
    """

    run: Path
    data: Path
    false_alarms_per_hour: tuple[float, ...] = (1, 10, 60)
    fps: float | None = None
    smoothing: SmoothingName = "none"
    smoothing_width: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges, before anything is measured."""
        super().__post_init__()
        if not self.false_alarms_per_hour:
            raise ConfigError("false_alarms_per_hour must name at least one rate")
        if self.fps is not None:
            check_rates(self.false_alarms_per_hour, self.fps)
        Smoothing(self.smoothing, self.smoothing_width)


def calibrate(config: CalibrateConfig) -> Calibration:
    """Measures the ends of the training videos, finds the thresholds and stores them in the checkpoint.

    Raises:
        CheckpointError: If there is no usable checkpoint, or it was trained on meanwhile.
        DataError: If the data are not as they should be, or the ends too short or all alike.
        OutputError: If the checkpoint cannot be written.
    """
    checkpoint = load_checkpoint(config.run)
    model = checkpoint.build_model().to(choose_device(config.accelerator))
    held_out: float = checkpoint.training.get("hold_out", 0)
    if not held_out:
        warnings.warn(
            "the run held nothing out: the last tenth of each training video is used, on which the model was trained "
            "if these are its data. Its scores there are too good and the thresholds too low; train with --hold-out "
            "0.1 for thresholds that hold",
            stacklevel=2,
        )
    clips = open_as_trained(checkpoint, config.data, "training", config)
    fps = config.fps or common_rate(clips.rates)
    if fps is None:
        raise ConfigError(
            "the videos do not say how many frames a second they have, or have different ones; give --fps"
        )
    check_rates(config.false_alarms_per_hour, fps)
    calibration = _calibration(config, fps, model, clips, held_out or LAST_TENTH, trained_on=not held_out)
    save_calibration(config.run, checkpoint, calibration.as_dict())
    return calibration


def _calibration(
    config: CalibrateConfig, fps: float, model: Autoencoder, clips: Clips, share: float, *, trained_on: bool
) -> Calibration:
    usual = RECIPES[model.config.task].update_threshold
    update: dict[str, Any] = {
        "update": config.update if model.memory is not None else "none",
        "update_threshold": usual if config.update_threshold is None else config.update_threshold,
    }
    with tempfile.TemporaryDirectory() as folder:
        measurements = measure(model, tails(clips, share, Path(folder)), **update)
    weight = settle_weight(measurements, config.score_weight)
    bounds, smoothing = bounds_of(measurements), Smoothing(config.smoothing, config.smoothing_width)
    if bounds.psnr[0] == bounds.psnr[1]:
        raise DataError(
            f"the {len(measurements)} frames that were held out have one and the same PSNR, which scales nothing; hold "
            "out more, or other video"
        )
    scores = abnormality(measurements, weight, Scaling("calibrated", bounds), smoothing)
    return Calibration(
        score_weight=weight,
        bounds=bounds,
        smoothing=smoothing,
        fps=fps,
        thresholds=find_thresholds(scores, measurements.video, config.false_alarms_per_hour, fps, config.seed),
        frames=len(measurements),
        videos=len(set(measurements.video.tolist())),
        hold_out=share,
        trained_on=trained_on,
        update=measurements.protocol["update"],
        update_threshold=measurements.protocol["update_threshold"],
        data=str(config.data),
        version=__version__,
    )
