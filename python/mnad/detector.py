"""A trained and calibrated model that watches: frames in, scores and alarms out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from mnad.data import Clips, open_clips
from mnad.data.frames import as_shown
from mnad.data.levels import Levels
from mnad.evaluation.calibration import Calibration
from mnad.evaluation.scores import scores_by
from mnad.measuring import measure_by
from mnad.measuring.network import Network
from mnad.measuring.options import Precision, RuntimeName
from mnad.measuring.usual import Usual
from mnad.models import Autoencoder
from mnad.runtime.errors import ConfigError, DataError
from mnad.watching.model import CalibratedModel, model_identity
from mnad.watching.state import load_streams, save_streams
from mnad.watching.streams import FrameResult, Streams

Frame = NDArray[Any]
ONE_STREAM = ""


@dataclass(frozen=True)
class VideoScores:
    """What a detector finds in a whole video.

    Attributes:
        frame: (N,) int64, the number of each scored frame in the video, from 0.
        score: (N,), the calibrated scores.
        alarm: (N,) bool, where they are above the threshold.
        psnr: (N,), P in dB.
        distance: (N,), D; NaN for a model without memory.
    """

    frame: NDArray[np.int64]
    score: NDArray[np.float64]
    alarm: NDArray[np.bool_]
    psnr: NDArray[np.float64]
    distance: NDArray[np.float64]


class Detector:
    """A trained model that watches streams of frames, each with a memory of its own.

    Scores are the calibrated ones: P and D scaled by what ``mnad calibrate`` measured of normal video, so that no
    other frame of the stream is needed. They equal those of ``mnad score`` of the same video, by the calibration's
    test-time update, and of ``mnad evaluate --threshold calibrated``, but for the last bits, which depend on how many
    frames are computed at once. A model of grey frames is shown OpenCV's grey (``cv2.cvtColor``) of a frame in colour.

    Args:
        model: The network.
        calibration: Of this network.
        size: S, height and width of the frames that it was trained on, in pixels.
        levels: Black and white of pixels of more than 8 bits; None for a model of 8-bit frames.
        usual: What is usual at each place, if the calibration's scores count in relation to that.
        false_alarms_per_hour: Which of the calibration's thresholds raises alarms; the first if None.
        precision: ``"32-true"``, or ``"bf16"`` for the network. The memory computes in float32 all the same.
        runtime: What executes the network: ``"torch"``, ``"openvino"`` or ``"onnxruntime"``.

    Raises:
        ConfigError: If the model is not calibrated for that rate of false alarms, precision or runtime are not known,
            the runtime is not installed, or the calibration is not of what is given as usual.
        CheckpointError: If a weight is not finite.

    Example:
        >>> import mnad, numpy as np
        >>> detector = mnad.Detector.load("runs/gate")
        >>> for frame in np.zeros((5, 120, 160, 3), np.uint8):
        ...     result = detector.step(frame)
        >>> result.score is not None, result.error_map.shape
        (True, (32, 32))
    """

    def __init__(
        self,
        model: Autoencoder,
        calibration: Calibration,
        size: int,
        *,
        levels: Levels | None = None,
        usual: Usual | None = None,
        false_alarms_per_hour: float | None = None,
        precision: Precision = "32-true",
        runtime: RuntimeName = "torch",
    ) -> None:
        if (None if usual is None else usual.identity) != calibration.usual:
            raise ConfigError("the calibration is not of what is given as usual; take both of one checkpoint")
        self.model, self.calibration, self.size, self.levels = model, calibration, size, levels
        self.threshold = calibration.threshold_for(false_alarms_per_hour).threshold
        network = Network(model, precision, usual, runtime=runtime, size=size)
        self._streams = Streams(network, calibration, self.threshold)

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        false_alarms_per_hour: float | None = None,
        accelerator: str = "auto",
        precision: Precision = "32-true",
        runtime: RuntimeName = "torch",
    ) -> Detector:
        """Loads the model of a run that was calibrated.

        Args:
            run: A run's folder, a checkpoint file, a folder of exported weights, or the name of weights that are
                installed, such as ``"ped2-small"``.
            false_alarms_per_hour: Which of the calibrated thresholds raises alarms; the first if None.
            accelerator: ``"cpu"``, ``"cuda"``, or ``"auto"`` for what there is.
            precision: ``"32-true"`` or ``"bf16"``.
            runtime: ``"torch"``; or ``"openvino"`` or ``"onnxruntime"``, which compute on the CPU, faster on some, and
                are installed by ``pip install 'mnad-ext[openvino]'`` or ``[onnxruntime]``.

        Raises:
            CheckpointError: If there is no usable checkpoint, or it is not calibrated.
            ConfigError: If it is not calibrated for that rate of false alarms, or the runtime is not installed.
        """
        return cls(
            **vars(CalibratedModel.load(Path(run), accelerator, runtime)),
            false_alarms_per_hour=false_alarms_per_hour,
            precision=precision,
            runtime=runtime,
        )

    @property
    def streams(self) -> tuple[str, ...]:
        """The names of the streams that have been seen."""
        return tuple(self._streams.by_name)

    @overload
    def step(self, frames: Frame | None) -> FrameResult: ...

    @overload
    def step(self, frames: Mapping[str, Frame | None]) -> dict[str, FrameResult]: ...

    def step(self, frames: Frame | Mapping[str, Frame | None] | None) -> FrameResult | dict[str, FrameResult]:
        """Takes the next frame of a stream, or of several at once, which are computed in one pass.

        Args:
            frames: (H, W) or (H, W, 1 or 3) uint8 of any size, BGR as OpenCV reads it; or a dictionary from the names
                of streams to such frames, each stream with a memory of its own. None is a frame that could not be
                read: its stream begins a new window and keeps its memory. A model of frames of more than 8 bits takes
                these.

        Returns:
            What is found, or a dictionary of it with the same names.

        Raises:
            TypeError: If a frame is not an array of the dtype that the model takes.
            ValueError: If its shape is not that of a frame.
            ConfigError: If the calibration smooths by frames to come.
            CheckpointError: If the model gives nothing finite.
        """
        several = frames if isinstance(frames, Mapping) else {ONE_STREAM: frames}
        pixels = {name: None if frame is None else self._fit(frame, name) for name, frame in several.items()}
        results = self._streams.step(pixels)
        return results if isinstance(frames, Mapping) else results[ONE_STREAM]

    def score(
        self, video: str | Path | Iterable[Frame | None], *, batch_size: int = 8, cache: str | Path | None = None
    ) -> VideoScores:
        """Scores a whole video with a memory of its own; the streams stay as they are.

        Args:
            video: A video file or a folder of pictures; or its frames, each as for :meth:`step`, None among them.
            batch_size: Frames that are computed at once; it changes no score.
            cache: Where a clip store is made of a file; the variable MNAD_CACHE, or ``~/.cache/mnad``, if None.

        Raises:
            DataError: If it cannot be read, has too few frames, or is several videos.
            TypeError: If a frame is not an array of the dtype that the model takes.
            ValueError: If its shape is not that of a frame.

        Example:
            >>> import mnad
            >>> scores = mnad.Detector.load("runs/gate").score("data/gate/testing/frames/01")
            >>> scores.frame[:3].tolist(), len(scores.score) == len(scores.frame)
            ([4, 5, 6], True)
        """
        clips = self._open(Path(video), cache) if isinstance(video, str | Path) else self._clips(video)
        measurements = measure_by(
            self._streams.network,
            clips,
            update=self.calibration.update,
            update_threshold=self.calibration.update_threshold or 0,
            batch_size=batch_size,
            progress=False,
        )
        scores = scores_by(measurements, self.calibration.scoring, self.calibration.scaling)
        return VideoScores(
            frame=measurements.frame,
            score=scores,
            alarm=scores > self.threshold,
            psnr=measurements.psnr,
            distance=measurements.distance,
        )

    def reset(self, stream: str | None = None) -> None:
        """Forgets a stream, its frames and what its memory has learned of them; all streams if None."""
        if stream is None:
            self._streams.by_name.clear()
        else:
            self._streams.by_name.pop(stream, None)

    def save_state(self, path: str | Path) -> None:
        """Writes the state of all streams into a file; :meth:`load_state` goes on as if there had been no pause.

        Raises:
            OutputError: If it cannot be written.
        """
        save_streams(Path(path), self._streams, self._identity())

    def load_state(self, path: str | Path) -> None:
        """Goes on from a state that :meth:`save_state` has written; what the streams are now is forgotten.

        Raises:
            CheckpointError: If there is no such file, it is damaged, or of another model or calibration.
        """
        load_streams(Path(path), self._streams, self._identity())

    def _fit(self, frame: Frame, stream: str) -> NDArray[np.uint8]:
        """Returns a frame as the model is shown it, (S, S, C_img) uint8."""
        of = f" of stream {stream!r}" if stream != ONE_STREAM else ""
        if not isinstance(frame, np.ndarray):
            raise TypeError(f"the frame{of} must be a NumPy array, got {type(frame).__name__}")
        if frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] not in (1, 3)) or 0 in frame.shape:
            raise ValueError(f"the frame{of} must be (H, W) or (H, W, 1 or 3), got {frame.shape}")
        if self.levels is None and frame.dtype != np.uint8:
            raise TypeError(
                f"the frame{of} must be uint8, as the model was trained on frames of 8 bits, got {frame.dtype}"
            )
        if self.levels is not None and frame.dtype == np.uint8:
            raise TypeError(
                f"the frame{of} must have more than 8 bits, as those that the model was trained on, got {frame.dtype}"
            )
        return as_shown(frame, self.size, self.model.config.image_channels, self.levels)

    def _identity(self) -> str:
        return model_identity(self.model, self.size, self.levels)

    def _open(self, path: Path, cache: str | Path | None) -> Clips:
        clips = open_clips(
            path,
            "testing",
            self.size,
            image_channels=self.model.config.image_channels,
            levels=None if self.levels is None else (self.levels.black, self.levels.white),
            cache=None if cache is None else Path(cache),
            progress=False,
        )
        if len(clips.names) != 1:
            raise DataError(
                f"{path} holds {len(clips.names)} videos, but one is scored at a time; name one, or use mnad score"
            )
        return clips

    def _clips(self, frames: Iterable[Frame | None]) -> Clips:
        if isinstance(frames, np.ndarray) and (frames.ndim < 3 or (frames.ndim == 3 and frames.shape[2] in (1, 3))):
            raise ValueError(f"the video must be frames, (N, H, W) or (N, H, W, 1 or 3), got one frame, {frames.shape}")
        pixels = [None if frame is None else self._fit(frame, ONE_STREAM) for frame in frames]
        if not pixels:
            raise DataError("the video has no frames")
        missing = np.array([frame is None for frame in pixels])
        black = np.zeros((self.size, self.size, self.model.config.image_channels), np.uint8)
        whole = np.stack([black if frame is None else frame for frame in pixels])
        span = np.array([0, len(whole)])
        return Clips(whole, ("video",), span, None, "none", None, (False,), missing if missing.any() else None)
