"""Reading an image file, whole or with an error."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.errors import DataError


def read_image(path: Path, channels: int) -> NDArray[np.uint8]:
    """Decodes an image file.

    Args:
        path: A JPEG, PNG, BMP or TIFF file.
        channels: 3 for BGR, 1 for grey.

    Returns:
        (H, W, channels) uint8.

    Raises:
        DataError: If the file cannot be read, is no image, or ends too early.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    # OpenCV fills what is missing of a file that was cut off with grey, and says nothing.
    if _is_cut_off(data):
        raise DataError(f"{path} is cut off: its image data end too early; copy or extract the file again")
    mode = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    image = cv2.imdecode(np.frombuffer(data, np.uint8), mode) if data else None
    if image is None:
        raise DataError(f"{path} is not an image that OpenCV can read ({len(data)} bytes)")
    return image.reshape(*image.shape[:2], channels).astype(np.uint8, copy=False)


def _is_cut_off(data: bytes) -> bool:
    if data.startswith(b"\xff\xd8"):  # JPEG: an end marker must follow the last scan
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda") or b"\xff\xda" not in data
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:]
    return False
