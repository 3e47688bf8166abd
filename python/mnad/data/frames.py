"""From a frame as people have it to the pixels that a model is shown."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.data.levels import Levels


def resize(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Returns a frame in another size, bilinearly.

    Args:
        frame: (H, W) or (H, W, 1 or 3) uint8.
        size: S.

    Returns:
        (S, S), or (S, S, 3) for a frame in colour.
    """
    return np.asarray(cv2.resize(frame, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def as_shown(frame: NDArray[Any], size: int, channels: int, levels: Levels | None) -> NDArray[np.uint8]:
    """Returns a frame as a model is shown it.

    Args:
        frame: (H, W) or (H, W, 1 or 3), BGR; bytes, or deeper pixels for a model with levels.
        size: S.
        channels: C_img, 1 or 3.
        levels: Black and white of pixels of more than 8 bits; None for bytes.

    Returns:
        (S, S, C_img) uint8.
    """
    pixels = with_channels(frame, channels)
    return resize(pixels if levels is None else levels.to_bytes(pixels), size).reshape(size, size, channels)


def with_channels(frame: NDArray[Any], channels: int) -> NDArray[Any]:
    """Returns a frame in colour or in grey.

    Args:
        frame: (H, W) or (H, W, 1 or 3), BGR where there are 3 channels.
        channels: 3 repeats grey; 1 makes grey of colour.

    Returns:
        (H, W, channels).
    """
    frame = frame.reshape(*frame.shape[:2], -1)
    if frame.shape[2] == channels:
        return frame
    if channels == 3:
        return np.repeat(frame, 3, axis=2)
    frame = frame if frame.dtype in (np.uint8, np.uint16) else frame.astype(np.float32)
    grey: NDArray[Any] = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    return grey[..., None]
