"""Measuring the ends of the training videos on a cluster, for a calibration."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.checkpoint import Checkpoint
from mnad.artifacts.measurements import Measurements, joined
from mnad.cluster.connection import connected
from mnad.cluster.fleet import Fleet
from mnad.data.clips import tails
from mnad.data.steadiness import moves
from mnad.data.windows import NoWindowError
from mnad.measuring.map_recorder import ErrorRecorder
from mnad.pipeline.calibrate import CalibrateConfig, HeldOut
from mnad.pipeline.score import ScoreConfig
from mnad.pipeline.score_videos import IN_FLIGHT, check_update
from mnad.pipeline.video_scorer import VideoScorer, scratch
from mnad.pipeline.video_tasks import VideoTask, find_videos, tasks_of
from mnad.runtime.errors import DataError
from mnad.runtime.places import absolute
from mnad.runtime.progress import VideoProgress, print_line


class MeasuredEnd(NamedTuple):
    """What was measured of the end of a video; nothing where it is too short for a single window."""

    measurements: Measurements | None
    errors: NDArray[np.float32]
    rate: float | None
    moves: bool
    faults: tuple[str, ...]


def measure_on_cluster(config: CalibrateConfig, checkpoint: Checkpoint, share: float) -> HeldOut:
    """Measures the ends of the videos on the devices of a Ray cluster; those that cannot be read are left out by name.

    Raises:
        ConfigError: If the options do not fit each other, the model or the cluster.
        DataError: If no video could be measured.
        OutputError: If no machine can do its part.
    """
    scoring = ScoreConfig(
        config.run,
        absolute(config.data),
        split="training",
        update=config.update,
        update_threshold=config.update_threshold,
        accelerator=config.accelerator,
        layout=config.layout,
    )
    model = replace(checkpoint, optimizer=None, usual={})
    split = find_videos(scoring)
    check_update(scoring, checkpoint, len(split.videos))
    tasks = tasks_of(scoring, model, split)
    found: dict[str, MeasuredEnd] = {}
    with connected(config.address) as ray, VideoProgress(len(tasks), sum(task.size for task in tasks)) as progress:
        fleet: Fleet[VideoTask, MeasuredEnd] = Fleet(
            ray, EndScorer, (scoring, model, share), accelerator=config.accelerator, in_flight=IN_FLIGHT
        )
        for number, done in enumerate(fleet.run(tasks), 1):
            name = done.task.video.name
            if done.value is None:
                warnings.warn(f"video {name} is left out: {done.fault}", stacklevel=2)
            else:
                found[name] = done.value
                for fault in done.value.faults:
                    warnings.warn(fault, stacklevel=2)
            progress.advance(number, done.task.size, 0)
    ends = [found[video.name] for video in split.videos if video.name in found]
    measured = [end for end in ends if end.measurements is not None]
    parts = [end.measurements for end in measured if end.measurements is not None]
    if not parts:
        raise DataError(f"the ends of none of the {len(tasks)} videos could be measured; hold out more, or other video")
    print_line(f"the ends of {len(parts)} of {len(tasks)} videos were measured")
    protocol = {name: value for name, value in parts[0].protocol.items() if name != "rates"}
    names = [video.name for video in split.videos if video.name in found]
    fps = config.settled_fps([end.rate for end in ends])
    moving = 2 * sum(end.moves for end in ends) > len(ends)
    return HeldOut(joined(parts, names, protocol), np.concatenate([end.errors for end in measured]), fps, moving)


class EndScorer(VideoScorer):
    """Measures the ends of videos, see :class:`mnad.pipeline.video_scorer.VideoScorer`.

    Args:
        config: How they are measured.
        checkpoint: Of the model.
        share: Of each video, at its end.
    """

    def __init__(self, config: ScoreConfig, checkpoint: Checkpoint, share: float) -> None:
        super().__init__(config, checkpoint)
        self.share = share

    def run(self, task: VideoTask) -> MeasuredEnd:  # type: ignore[override]
        """Decodes a video and measures its end.

        Raises:
            DataError: If it cannot be read, or its end is not a single frame.
            OutputError: If this machine has no room for its frames.
        """
        recorder = ErrorRecorder()
        with scratch() as folder:
            clips, faults = self.decoded(task.video, folder)
            rate, moving = clips.rates[0] if clips.rates else None, moves(clips)
            ends = tails(clips, self.share, folder)
            try:
                with self.computing:
                    measured = self.scorer.measure(ends, maps=recorder, progress=False)
            except NoWindowError:
                return MeasuredEnd(None, recorder.errors, rate, moving, faults)
        return MeasuredEnd(measured, recorder.errors, rate, moving, faults)
