"""Scoring one video after the other on a device of a cluster."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mnad.artifacts.checkpoint import Checkpoint
from mnad.artifacts.measurements import write_measurements
from mnad.cluster.fleet import About, about_here
from mnad.data import Clips
from mnad.data.preparation import Found, PrepareConfig, prepare
from mnad.data.splits import Split, Video
from mnad.data.windows import NoWindowError
from mnad.pipeline.score import ScoreConfig, Scorer
from mnad.pipeline.video_tasks import VideoTask
from mnad.runtime.files import output_errors

SCRATCH = "mnad-scratch-"


class ScoredVideo(NamedTuple):
    """What was measured of a video, or of a part of it.

    Attributes:
        measurements: The content of a file of measurements; None where the video is too short for a single window.
        frames: The number of its frames.
        rate: Frames a second; None where nothing says so.
        faults: What is wrong with it and does not keep it from being used.
        decoding: Seconds that it took to decode.
        computing: Seconds that the network took.
    """

    measurements: bytes | None
    frames: int
    rate: float | None
    faults: tuple[str, ...]
    decoding: float
    computing: float


class VideoScorer:
    """Holds a model on a device and scores videos, see :class:`mnad.cluster.fleet.Worker`.

    A video is decoded into a folder of this machine while another one is computed.

    Args:
        config: How videos are scored.
        checkpoint: Of the model, read where the command was given: no machine reads another one.
    """

    def __init__(self, config: ScoreConfig, checkpoint: Checkpoint) -> None:
        self.config, self.checkpoint = config, checkpoint
        self.computing = threading.Lock()

    def about(self) -> About:
        """Makes the model ready."""
        self.scorer = Scorer.of(self.config, self.checkpoint)
        return about_here(self.scorer.network.device)

    def run(self, task: VideoTask) -> ScoredVideo:
        """Decodes a video, or a part of it, and scores it.

        Raises:
            NotInPartsError: If it can only be read as a whole.
            DataError: If it cannot be read.
            OutputError: If this machine has no room for its frames.
        """
        began = time.perf_counter()
        with scratch() as folder:
            clips, faults = self.decoded(task.video, folder)
            decoded = time.perf_counter()
            with self.computing:
                start = time.perf_counter()
                try:
                    measured = self.scorer.measure(clips, progress=False)
                except NoWindowError:
                    measured = None
                took = time.perf_counter() - start
        rate = clips.rates[0] if clips.rates else None
        if measured is None:
            return ScoredVideo(None, len(clips), rate, faults, decoded - began, took)
        measured.protocol.update(frames=len(clips), faults=faults, seconds=round(took, 3))
        content = io.BytesIO()
        first = task.piece.first if task.piece else 0
        write_measurements(content, replace(measured, labels=None, frame=measured.frame + first))
        return ScoredVideo(content.getvalue(), len(clips), rate, faults, decoded - began, took)

    def decoded(self, video: Video, folder: Path) -> tuple[Clips, tuple[str, ...]]:
        """Decodes a video as the model knows frames, and returns what is wrong with it."""
        training, grey = self.checkpoint.training, self.checkpoint.config.image_channels == 1
        levels = training.get("levels")
        split = Split(self.config.split, (replace(video, masks=None),))
        store = prepare(
            PrepareConfig(
                self.config.data,
                folder / "store",
                training["size"],
                channels=1 if grey else "auto",
                levels=None if levels is None else tuple(levels),
                workers=1,
            ),
            [self.config.split],
            found=Found("videos", [split], split.check()),
            only_bytes=levels is None,
            progress=False,
        )
        return store.clips(self.config.split), store.warnings


@contextmanager
def scratch() -> Iterator[Path]:
    """Yields a folder for the frames of a video; what killed workers have left is removed."""
    base = Path(tempfile.gettempdir())
    with output_errors(base):
        for left in base.glob(f"{SCRATCH}*"):
            if not Path(f"/proc/{left.name.split('-')[2]}").exists():
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-"))
    try:
        yield folder
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)
