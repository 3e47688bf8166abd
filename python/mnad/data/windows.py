"""Windows of consecutive frames, what a model is shown at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mnad.data.clips import Clips, tail_length
from mnad.runtime.errors import ConfigError, DataError

Target = Literal["next", "last"]


class NoWindowError(DataError):
    """No video is long enough for a single window, or has enough frames in a row that can be read."""


class Windows(Dataset[Tensor]):
    """Windows of a clip set, each within one video and of frames that could be read.

    Item i is a (T, H, W, 1 or 3) uint8 tensor whose last frame is the target: for target "next" the input frames and
    the frame after them, T = frames_in + 1; for "last" the input frames alone, T = frames_in.

    Args:
        clips: The frames.
        frames_in: Input frames of a window, at least 1.
        target: ``"next"`` to predict the frame that follows, ``"last"`` to restore the last input frame.
        stride: Frames from the beginning of one window to that of the next.
        hold_out: The share of each video's end that no window touches, in [0, 1).

    Raises:
        NoWindowError: If no video is long enough for a single window.
        ConfigError: If frames_in or stride is less than 1.
    """

    def __init__(self, clips: Clips, frames_in: int, target: Target, stride: int = 1, hold_out: float = 0) -> None:
        for name, value in {"frames_in": frames_in, "stride": stride}.items():
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        self.clips = clips
        self.length = frames_in + (target == "next")
        starts = clips.starts[:-1].tolist()
        counts = [int(count) - tail_length(int(count), hold_out) for count in np.diff(clips.starts)]
        self.firsts: NDArray[np.int64] = np.concatenate(
            [
                np.arange(start, start + count - self.length + 1, stride)
                for start, count in zip(starts, counts, strict=True)
            ]
        )
        if len(self.firsts) == 0:
            left = " left" if hold_out else ""
            raise NoWindowError(f"a window needs {self.length} frames, but the longest video has {max(counts)}{left}")
        self.firsts = self.firsts[self._readable()]
        if len(self.firsts) == 0:
            raise NoWindowError(
                f"a window needs {self.length} frames that can be read, one after the other; none has them"
            )

    def _readable(self) -> NDArray[np.bool_]:
        """Returns which windows have no missing frame."""
        if self.clips.missing is None:
            return np.ones(len(self.firsts), np.bool_)
        missing = np.concatenate([[0], np.cumsum(self.clips.missing)])
        readable: NDArray[np.bool_] = missing[self.firsts + self.length] == missing[self.firsts]
        return readable

    def __len__(self) -> int:
        """The number of windows."""
        return len(self.firsts)

    def __getitem__(self, index: int) -> Tensor:
        """Returns a window as uint8 (T, H, W, 1 or 3)."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        """Returns windows as uint8 (B, T, H, W, 1 or 3), each copied once from the map to its place in the batch."""
        batch = torch.empty((len(indices), self.length, *self.clips.frames.shape[1:]), dtype=torch.uint8)
        for window, index in zip(batch.numpy(), indices, strict=True):
            first = self.firsts[index]
            window[...] = self.clips.frames[first : first + self.length]
        return batch

    @property
    def targets(self) -> NDArray[np.int64]:
        """For every window, the index of its target among the frames of the clips."""
        return self.firsts + self.length - 1


def to_frames(pixels: Tensor, image_channels: int = 3) -> Tensor:
    """Makes a network's frames of stored pixels, on the device where they are.

    Args:
        pixels: (..., H, W, 1 or 3) uint8.
        image_channels: C_img, the channels that the network takes; grey pixels are repeated for 3.

    Returns:
        (..., C_img, H, W) float32 in [-1, 1], scaled as x / 127.5 - 1.

    Raises:
        ConfigError: If the pixels are in colour and the network takes grey.

    Example:
        >>> import torch
        >>> to_frames(torch.tensor([[[0], [255]]], dtype=torch.uint8)).tolist()
        [[[-1.0, 1.0]], [[-1.0, 1.0]], [[-1.0, 1.0]]]
    """
    if pixels.shape[-1] > image_channels:
        raise ConfigError("the frames are in colour, but the network takes grey; prepare the data with --channels 1")
    frames = (pixels.float() / 127.5 - 1).movedim(-1, -3)
    return frames.expand(*frames.shape[:-3], image_channels, *frames.shape[-2:])
