"""Streams of frames that one model watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnad.evaluation.calibration import Calibration
from mnad.evaluation.locality import WHOLE_FRAME
from mnad.evaluation.normalisation import parts_by_bounds
from mnad.evaluation.score_map import ScoreMapping
from mnad.evaluation.scores import combine
from mnad.evaluation.smoothing import smooth
from mnad.measuring.metrics import psnr
from mnad.measuring.network import DISTANCE, MSE, Block, DecodedRows, Network, diverged, finite_rows
from mnad.measuring.pooling import error_level, pool_within
from mnad.runtime.errors import ConfigError

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
    _expected: Tensor | None = field(default=None, repr=False, compare=False)
    _error: Tensor | None = field(default=None, repr=False, compare=False)
    _maps: tuple[Tensor, Tensor | None] | None = field(default=None, repr=False, compare=False)
    _mapping: ScoreMapping | None = field(default=None, repr=False, compare=False)

    @property
    def expected(self) -> Pixels | None:
        """(S, S, 1 or 3) uint8, the frame that the model expected, BGR; None where there is no score."""
        return None if self._expected is None else self._expected.cpu().numpy()

    @property
    def error_map(self) -> NDArray[np.float32] | None:
        """(S, S) float32 in [0, 1], the squared error of each pixel, mean of the channels; None without a score."""
        return None if self._error is None else self._error.cpu().numpy()

    @property
    def score_map(self) -> NDArray[np.float32] | None:
        """(G, G) float32, the score that each place would give the frame by itself; G is the frames' size, at most 64.

        None without a score, and where the calibration scores the whole frame.
        """
        if self._maps is None or self._mapping is None:
            return None
        return np.asarray(self._mapping.of(*self._maps)[0], np.float32)


@dataclass(frozen=True)
class Stream:
    """A stream between two frames.

    Attributes:
        window: The last frames, up to as many as the model is shown, each (S, S, C_img) uint8.
        items: (M, C), the stream's memory; None for a model without memory.
        scores: The last scores before smoothing, up to as many as it takes.
    """

    window: tuple[Pixels, ...]
    items: Tensor | None
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Region:
    """The part of the picture in which a stream is watched.

    Attributes:
        places: (G, G) bool, of the maps of errors.
        queries: (h, w) bool, of the queries.
    """

    places: Tensor
    queries: Tensor


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
        self.regions: dict[str, Region] = {}
        self.mapping = None
        if calibration.locality != WHOLE_FRAME:
            how = calibration.score_weight, calibration.locality, calibration.bounds
            self.mapping = ScoreMapping(*how, network.config.channels, network.usual)

    def new(self) -> Stream:
        """Returns a stream that has seen nothing."""
        memory = self.network.memory
        return Stream((), None if memory is None else memory.items, ())

    @property
    def window_length(self) -> int:
        """T, the frames that a score takes."""
        return self.network.config.window

    def show(self, name: str, pixels: Pixels | None) -> None:
        """Takes the next frame of a stream that nobody wants a score of; it is one that others are predicted from.

        Args:
            name: Of the stream.
            pixels: (S, S, C_img) uint8; None begins a new window.
        """
        self.by_name[name] = self._with_frame(name, pixels)

    def set_region(self, name: str, region: Region | None) -> None:
        """Watches a part of a stream's picture alone; all of it if None."""
        if region is None:
            self.regions.pop(name, None)
        else:
            self.regions[name] = region

    def forget(self, name: str) -> None:
        """Forgets a stream."""
        self.by_name.pop(name, None)
        self.regions.pop(name, None)

    @torch.inference_mode()
    def step(self, frames: Mapping[str, Pixels | None]) -> dict[str, FrameResult]:
        """Takes the next frame of some streams; those that have enough of them are measured in one pass.

        Args:
            frames: (S, S, C_img) uint8 by the name of the stream; None for a frame that could not be read.

        Raises:
            ConfigError: If the calibration smooths by frames to come.
            CheckpointError: If the model gives nothing finite. The streams then stay as they are.
        """
        smoothing = self.calibration.smoothing
        if smoothing.looks_ahead:
            raise ConfigError(
                f"the calibration smooths scores by frames to come ({smoothing.name}), which a stream has not yet; "
                "calibrate with --smoothing causal or none, or score whole videos"
            )
        streams = {name: self._with_frame(name, pixels) for name, pixels in frames.items()}
        results = {name: FrameResult() for name in frames}
        whole = {name: stream for name, stream in streams.items() if len(stream.window) == self.window_length}
        if whole:
            for name, (stream, result) in self._measure(whole).items():
                streams[name], results[name] = stream, result
        self.by_name |= streams
        return results

    def _with_frame(self, name: str, pixels: Pixels | None) -> Stream:
        """Returns a stream with the next frame; one that could not be read begins a new window."""
        stream = self.by_name.get(name) or self.new()
        if pixels is None:
            return Stream((), stream.items, ())
        return replace(stream, window=(*stream.window, pixels)[-self.window_length :])

    def _measure(self, streams: Mapping[str, Stream]) -> dict[str, tuple[Stream, FrameResult]]:
        """Measures the newest frame of each stream, and updates their items where it is normal enough."""
        rows = range(len(streams))
        block = self.network.encode(torch.from_numpy(np.stack([np.stack(each.window) for each in streams.values()])))
        memories = [stream.items for stream in streams.values() if stream.items is not None]
        items = torch.stack(memories) if memories else None
        decoded = block.restore(rows, items)
        finite = finite_rows(decoded.metrics)
        if not finite.all():
            raise diverged(f"the newest frame of stream {list(streams)[int(finite.argmin())]!r}")
        new_items = self._updated(block, decoded, memories)
        expected = ((decoded.frames + 1) * 127.5).round().clamp(0, 255).byte().movedim(1, -1)
        measured = {}
        for row, (name, stream) in enumerate(streams.items()):
            scores, score = self._score(stream, *self._parts(decoded, row, self.regions.get(name)))
            result = FrameResult(
                score=score,
                alarm=score > self.threshold,
                psnr=float(psnr(decoded.metrics[row, MSE])),
                distance=float(decoded.metrics[row, DISTANCE]) if memories else None,
                _expected=expected[row].clone(),  # without the rest of the batch
                _error=decoded.pixel_errors[row].clone(),
                _maps=self._maps(decoded, row),
                _mapping=self.mapping,
            )
            measured[name] = Stream(stream.window, new_items[row] if memories else None, scores), result
        return measured

    def _maps(self, decoded: DecodedRows, row: int) -> tuple[Tensor, Tensor | None]:
        """Returns the maps of a row that the score is made of, without the rest of the batch."""
        distances, rows = decoded.distance_map, slice(row, row + 1)
        return decoded.error_map[rows].clone(), None if distances is None else distances[rows].clone()

    def _updated(self, block: Block, decoded: DecodedRows, items: list[Tensor]) -> list[Tensor]:
        """Returns the items of each row after its update, if there is one."""
        updated = list(items)
        if not items or self.calibration.update_threshold is None:
            return updated
        normal = np.flatnonzero(decoded.update_errors < self.calibration.update_threshold).tolist()
        moved = block.update(normal, torch.stack([items[row] for row in normal])) if normal else ()
        for row, new in zip(normal, moved, strict=True):
            updated[row] = new.clone()
        return updated

    def _score(self, stream: Stream, p: float, distance: float) -> tuple[tuple[float, ...], float]:
        """Returns the last scores before smoothing, the frame's own among them, and the frame's score."""
        calibration, smoothing = self.calibration, self.calibration.smoothing
        weight = calibration.score_weight
        parts = parts_by_bounds(np.array([p]), np.array([distance]), calibration.bounds, with_distance=weight != 1)
        kept = 1 if smoothing.name == "none" else smoothing.width
        scores = (*stream.scores, float(combine(parts, weight)[0]))[-kept:]
        return scores, float(smooth(np.array(scores), np.zeros(len(scores), np.int64), smoothing)[-1])

    def _parts(self, decoded: DecodedRows, row: int, region: Region | None) -> tuple[float, float]:
        """Returns P of the part of the frame that is scored, and D."""
        if region is not None:
            return self._parts_within(decoded, row, region)
        locality, metrics = self.calibration.locality, decoded.metrics[row]
        return float(decoded.psnr_of(locality)[row]), float(metrics[DISTANCE])

    def _parts_within(self, decoded: DecodedRows, row: int, region: Region) -> tuple[float, float]:
        """Returns the same of a region alone."""
        locality, errors = self.calibration.locality, decoded.error_map[row : row + 1]
        distance = float("nan")
        if decoded.distance_map is not None:
            distance = float(decoded.distance_map[row][region.queries].mean()) / self.network.config.channels
        if locality.relative:
            assert self.network.usual is not None
            excess = self.network.usual.excess(error_level(errors))
            return -float(pool_within(excess, locality.pooling, region.places)), distance
        mse = pool_within(errors, locality.pooling, region.places).double().cpu().numpy()
        return float(psnr(mse)[0]), distance
