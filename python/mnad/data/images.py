"""Reading an image file, whole or with an error."""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path
from typing import Any, Literal

# What OpenCV finds wrong is told by errors and warnings of our own.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.data.frames import with_channels
from mnad.data.levels import Levels, as_bytes
from mnad.runtime.errors import DataError

ANIMATED = {".webp", ".png"}
PAGED = {".tif", ".tiff", *ANIMATED}
# Colour stays colour: a decoder's grey is rounded otherwise than that of a frame which a camera gives.
AS_IT_IS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# A marker inside the coded data of a JPEG: 0xFF before neither a stuffed zero, nor a restart, nor another 0xFF.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def read_image(path: Path, channels: int, levels: Levels | None = None) -> NDArray[np.uint8]:
    """Decodes an image file.

    Args:
        path: A JPEG, PNG, BMP, TIFF, WebP, JPEG 2000 or PNM file.
        channels: 3 for BGR, 1 for grey.
        levels: How pixels of more than 8 bits become bytes.

    Returns:
        (H, W, channels) uint8.

    Raises:
        DataError: If the file cannot be read, is no image, ends too early, or has more than 8 bits and there are no
            levels.
    """
    return as_bytes(read_pixels(path, channels), levels, path)


def read_pixels(path: Path, channels: int) -> NDArray[Any]:
    """Decodes an image file as deep as it is.

    Returns:
        (H, W, channels) uint8, uint16, float32 or what the file holds.

    Raises:
        DataError: As :func:`read_image`.
    """
    data = _whole_file(path)
    image = _decoded(data)
    if image is None:
        raise DataError(f"{path} is not an image that OpenCV can read ({len(data)} bytes)")
    return with_channels(image, channels)


def read_pages(path: Path, first: int, count: int, channels: int) -> list[NDArray[Any]]:
    """Decodes some of the pictures of a file of many, each as :func:`read_pixels`.

    Raises:
        DataError: If one cannot be read.
    """
    try:
        if path.suffix.lower() in ANIMATED:
            read, animation = cv2.imreadanimation(str(path), first, count)
            found = [cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR) for frame in animation.frames] if read else []
        else:
            found = list(cv2.imreadmulti(str(path), first, count, flags=AS_IT_IS)[1])
    except cv2.error:
        found = []
    if len(found) != count:
        raise DataError(f"{path} cannot be read from picture {first + len(found)} on, counted from 0")
    return [with_channels(image, channels) for image in found]


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Decodes a mask: True where any channel of a pixel is not 0, however small it is.

    Raises:
        DataError: As :func:`read_image`.
    """
    mask: NDArray[np.bool_] = (read_pixels(path, 3) != 0).any(axis=2)
    return mask


def is_whole(path: Path) -> bool:
    """Returns whether a file of many pictures ends where it says that it does.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return not _is_cut_off(data) and (data[:4] not in TIFF or _tiff_ends(data))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def pages_of(path: Path) -> int:
    """Returns the number of pictures in a file: pages of a TIFF, frames of an animation.

    Raises:
        DataError: If the file cannot be read.
    """
    return _count(path) if path.suffix.lower() in PAGED else 1


def _decoded(data: bytes) -> NDArray[Any] | None:
    try:
        image: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), AS_IT_IS)
    except cv2.error:  # nothing at all, or a header that names more than there can be
        return None
    return image


def _count(path: Path) -> int:
    try:
        return int(cv2.imcount(str(path)))
    except cv2.error as error:
        raise DataError(f"{path} is not an image that OpenCV can read: {error.err}") from error


def _whole_file(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    # Some versions of OpenCV fill what is missing of a file that was cut off with grey, and say nothing.
    if _is_cut_off(data):
        raise DataError(f"{path} is cut off: its image data end too early; copy or extract the file again")
    return data


def _is_cut_off(data: bytes | mmap.mmap) -> bool:
    """Returns whether a file ends before its own end; what lies behind that is no part of the picture."""
    if data[:2] == b"\xff\xd8":
        return not _jpeg_ends(data)
    if data[:4] == b"\x89PNG":
        return not _png_ends(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return 8 + int.from_bytes(data[4:8], "little") > len(data)
    return False


def _jpeg_ends(data: bytes | mmap.mmap) -> bool:
    """Goes from segment to segment, so that a thumbnail's end within one is not taken for that of the picture."""
    place, scans = 2, 0
    while found := _MARKER.search(data, place):
        marker, place = found[0][1], found.end()
        if marker == 0xD9:
            return scans > 0
        if marker in (0xD8, 0x01):  # these stand alone
            continue
        scans += marker == 0xDA
        place += int.from_bytes(data[place : place + 2], "big")
    return False


def _png_ends(data: bytes | mmap.mmap) -> bool:
    place = 8
    while place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        place += 12 + length
        if kind == b"IEND":
            return place <= len(data)
    return False


def _tiff_ends(data: bytes | mmap.mmap) -> bool:
    """Goes from page to page: each has a directory of entries, and behind these stands where the next one is."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    big = data[2:4] in (b"+\0", b"\0+")
    count_size, entry_size, place_size = (8, 20, 8) if big else (2, 12, 4)

    def number(place: int, size: int) -> int:
        return int.from_bytes(data[place : place + size], order)

    place, seen = number(place_size, place_size), set[int]()
    while place and place not in seen:
        seen.add(place)
        end = place + count_size + entry_size * number(place, count_size)
        if end + place_size > len(data):
            return False
        place = number(end, place_size)
    return True
