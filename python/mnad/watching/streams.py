"""Streams of frames that one model watches."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnad.evaluation.calibration import Calibration
from mnad.evaluation.normalisation import parts_by_bounds
from mnad.evaluation.scores import combine
from mnad.evaluation.smoothing import smooth
from mnad.measuring.metrics import psnr
from mnad.measuring.network import DISTANCE, MSE, UPDATE_ERROR, DecodedRows, Network
from mnad.runtime.errors import CheckpointError, ConfigError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class FrameResult:
    """What a detector finds in a frame.

    Attributes:
        score: The calibrated score, larger is more abnormal; None while too few frames of the stream are there.
        alarm: Whether the score is above the threshold.
        psnr: P in dB, how well the frame was expected.
        distance: D, how far its queries lie from the memory's items; None for a model without memory.
    """

    score: float | None = None
    alarm: bool = False
    psnr: float | None = None
    distance: float | None = None
    _restored: DecodedRows | None = field(default=None, repr=False, compare=False)
    _row: int = field(default=0, repr=False, compare=False)

    @property
    def expected(self) -> NDArray[np.uint8] | None:
        """(S, S, 1 or 3) uint8, the frame that the model expected, BGR; None where there is no score."""
        if self._restored is None:
            return None
        pixels = (self._restored.frames[self._row] + 1) * 127.5
        return pixels.round().clamp(0, 255).byte().movedim(0, -1).cpu().numpy()

    @property
    def error_map(self) -> NDArray[np.float32] | None:
        """(S, S) float32 in [0, 1], the squared error of each pixel, mean of the channels; None without a score."""
        if self._restored is None:
            return None
        return self._restored.errors[self._row].mean(0).cpu().numpy()


@dataclass
class Stream:
    """A stream between two frames.

    Attributes:
        window: The last frames, up to as many as the model is shown, each (S, S, C_img) uint8.
        items: (M, C), the stream's memory; None for a model without memory.
        scores: The last scores before smoothing, up to as many as it takes.
    """

    window: deque[Pixels]
    items: Tensor | None
    scores: deque[float]

    @property
    def is_whole(self) -> bool:
        """Whether there are enough frames for a score."""
        return len(self.window) == self.window.maxlen

    def take(self, pixels: Pixels | None) -> None:
        """Takes the next frame; None, a frame that could not be read, begins a new window."""
        if pixels is None:
            self.window.clear()
            self.scores.clear()
        else:
            self.window.append(pixels)


class Streams:
    """All streams of one model.

    Args:
        network: The model.
        calibration: How its scores are scaled and smoothed, and whether its items are updated.
        threshold: The score above which a frame raises an alarm.
    """

    def __init__(self, network: Network, calibration: Calibration, threshold: float) -> None:
        self.network, self.calibration, self.threshold = network, calibration, threshold
        self.by_name: dict[str, Stream] = {}

    def new(self) -> Stream:
        """Returns a stream that has seen nothing."""
        config, smoothing = self.network.config, self.calibration.smoothing
        memory = self.network.memory
        return Stream(
            window=deque(maxlen=config.frames_in + (config.target == "next")),
            items=None if memory is None else memory.items,
            scores=deque(maxlen=1 if smoothing.name == "none" else smoothing.width),
        )

    @torch.inference_mode()
    def step(self, frames: Mapping[str, Pixels | None]) -> dict[str, FrameResult]:
        """Takes the next frame of some streams; those that have enough of them are measured in one pass.

        Args:
            frames: (S, S, C_img) uint8 by the name of the stream; None for a frame that could not be read.

        Raises:
            ConfigError: If the calibration smooths by frames to come.
            CheckpointError: If the model gives nothing finite.
        """
        smoothing = self.calibration.smoothing
        if smoothing.looks_ahead:
            raise ConfigError(
                f"the calibration smooths scores by frames to come ({smoothing.name}), which a stream has not yet; "
                "calibrate with --smoothing causal or none, or score whole videos"
            )
        for name, pixels in frames.items():
            self.by_name.setdefault(name, self.new()).take(pixels)
        whole = [name for name in frames if self.by_name[name].is_whole]
        results = {name: FrameResult() for name in frames}
        return results | self._measure(whole) if whole else results

    def _measure(self, names: list[str]) -> dict[str, FrameResult]:
        """Measures the newest frame of streams, and updates their items where it is normal enough."""
        streams = [self.by_name[name] for name in names]
        block = self.network.encode(torch.from_numpy(np.stack([np.stack(stream.window) for stream in streams])))
        memories = [stream.items for stream in streams if stream.items is not None]
        items = torch.stack(memories) if memories else None
        restored = block.restore(range(len(names)), items)
        _check_finite(names, restored)
        if items is not None and self.calibration.update_threshold is not None:
            normal = np.flatnonzero(restored.update_errors < self.calibration.update_threshold).tolist()
            updated = block.update(normal, items[normal]) if normal else ()
            for row, new_items in zip(normal, updated, strict=True):
                streams[row].items = new_items
        scores = self._scores(streams, restored)
        return {
            name: FrameResult(
                score=score,
                alarm=score > self.threshold,
                psnr=float(psnr(restored.metrics[row, MSE])),
                distance=None if items is None else float(restored.metrics[row, DISTANCE]),
                _restored=restored,
                _row=row,
            )
            for row, (name, score) in enumerate(zip(names, scores, strict=True))
        }

    def _scores(self, streams: list[Stream], restored: DecodedRows) -> list[float]:
        metrics, calibration = restored.metrics, self.calibration
        weight = calibration.score_weight
        parts = parts_by_bounds(
            psnr(metrics[:, MSE]), metrics[:, DISTANCE], calibration.bounds, with_distance=weight < 1
        )
        smoothed = []
        for stream, score in zip(streams, combine(parts, np.float64(weight)).tolist(), strict=True):
            stream.scores.append(score)
            recent = np.array(stream.scores)
            smoothed.append(float(smooth(recent, np.zeros(len(recent), np.int64), calibration.smoothing)[-1]))
        return smoothed


def _check_finite(names: list[str], restored: DecodedRows) -> None:
    wanted = [MSE, UPDATE_ERROR, DISTANCE][: 2 if restored.memory is None else 3]
    broken = ~np.isfinite(restored.metrics[:, wanted]).all(axis=1)
    if broken.any():
        raise CheckpointError(
            f"the model gives nothing finite for the newest frame of stream {names[int(broken.argmax())]!r}, though "
            "its weights are finite: training has diverged; take an earlier checkpoint, or train with a lower learning "
            "rate"
        )
