"""Windows of consecutive frames, what a model is shown at once."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mnad.data.clips import Clips
from mnad.errors import DataError

Target = Literal["next", "last"]


class Windows(Dataset[Tensor]):
    """All windows of a clip set that lie in one video.

    Item i is a (T, C_img, H, W) uint8 tensor whose last frame is the target: for target "next" the input frames and
    the frame after them, T = frames_in + 1; for "last" the input frames alone, T = frames_in.

    Args:
        clips: The frames.
        frames_in: Input frames of a window, at least 1.
        target: ``"next"`` to predict the frame that follows, ``"last"`` to restore the last input frame.

    Raises:
        DataError: If no video is long enough for a single window.
    """

    def __init__(self, clips: Clips, frames_in: int, target: Target) -> None:
        self.clips = clips
        self.length = frames_in + (target == "next")
        self.firsts: NDArray[np.int64] = np.concatenate(
            [np.arange(span.start, span.stop - self.length + 1) for _, span in clips.videos()]
        )
        if len(self.firsts) == 0:
            longest = int(np.diff(clips.starts).max())
            raise DataError(f"a window needs {self.length} frames, but the longest video has {longest}")

    def __len__(self) -> int:
        """The number of windows."""
        return len(self.firsts)

    def __getitem__(self, index: int) -> Tensor:
        """Gives a window as uint8 (T, C_img, H, W)."""
        first = self.firsts[index]
        return torch.from_numpy(self.clips.frames[first : first + self.length]).permute(0, 3, 1, 2)

    @property
    def targets(self) -> NDArray[np.int64]:
        """For every window, the index of its target among the frames of the clips."""
        return self.firsts + self.length - 1


def to_unit_range(frames: Tensor) -> Tensor:
    """Scales uint8 frames to [-1, 1] as x / 127.5 - 1, in float32 on their own device.

    Example:
        >>> import torch
        >>> to_unit_range(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
        [-1.0, 1.0]
    """
    return frames.float() / 127.5 - 1
