"""One frame and what a model makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mnad.data import Clips, Windows, to_frames
from mnad.models import Autoencoder
from mnad.runtime.errors import DataError


@dataclass(frozen=True)
class RestoredFrame:
    """A frame, the last frame that the model was shown, and what it gave.

    Attributes:
        shown: (H, W, C_img) in [0, 1], BGR; for reconstruction the target itself.
        target: (H, W, C_img), likewise.
        output: (H, W, C_img), likewise.
    """

    shown: NDArray[np.float32]
    target: NDArray[np.float32]
    output: NDArray[np.float32]

    @property
    def error(self) -> NDArray[np.float32]:
        """(H, W), the squared error, mean of the channels."""
        error: NDArray[np.float32] = ((self.target - self.output) ** 2).mean(-1)
        return error


@torch.inference_mode()
def restore(model: Autoencoder, clips: Clips, frame: int) -> RestoredFrame:
    """Has a model predict or restore a frame; its items stay as they are.

    Args:
        model: A trained network; it is put into evaluation mode.
        clips: The frames.
        frame: The frame's number among them.

    Raises:
        DataError: If the frame has too few frames before it in its video.
    """
    model.eval()
    config = model.config
    windows = Windows(clips, config.frames_in, config.target)
    index = int(np.searchsorted(windows.targets, frame))
    if index == len(windows) or windows.targets[index] != frame:
        raise DataError(f"frame {frame} has not the {windows.length - 1} frames before it that the model wants")
    device = next(model.parameters()).device
    window = to_frames(windows[index].to(device), config.image_channels).unsqueeze(0)
    output = model(window[:, : config.frames_in].flatten(1, 2)).frames
    shown, target, restored = (
        ((images[0] + 1) / 2).movedim(0, -1).cpu().numpy()
        for images in (window[:, config.frames_in - 1], window[:, -1], output)
    )
    return RestoredFrame(shown, target, restored)


def middle_of_anomaly(clips: Clips, video: str | None = None) -> int:
    """Returns the middle one of a video's abnormal frames, by its number among the frames of the clips.

    Args:
        clips: What the frames and their labels are taken from.
        video: Its name; None for the first video that has abnormal frames.

    Raises:
        DataError: If there is no abnormal frame.
    """
    abnormal = np.flatnonzero([] if clips.labels is None else clips.labels)
    names = np.asarray(clips.names)[np.searchsorted(clips.starts, abnormal, side="right") - 1]
    found = abnormal[names == (names[:1] if video is None else video)]
    if len(found) == 0:
        where = "in any video" if video is None else f"in video {video}"
        raise DataError(f"there is no frame {where} that is labelled abnormal")
    return int(found[len(found) // 2])
