"""Events put into normal video, each at a known place and time.

Every function takes the frames of an excerpt of normal video and gives them with an event in the middle, and the masks
of what is abnormal. Before and after the event the frames are those of the video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Masks = NDArray[np.bool_]

ObjectSize = Literal["small", "medium", "large"]
# Height of an object as a share of the picture's.
OBJECT_SIZES: dict[ObjectSize, float] = {"small": 1 / 12, "medium": 1 / 6, "large": 1 / 3}
assert set(OBJECT_SIZES) == set(get_args(ObjectSize))

# What moves differs by more than this from the picture with which it is compared, in levels of 255, once blurred.
MOVED = 10
FADE = 4  # frames in which something is put down or taken away


class Staged(NamedTuple):
    """Frames with an event in them.

    Attributes:
        frames: (F, S, S, 3) uint8.
        masks: (F, S, S), True where a pixel belongs to the event.
    """

    frames: Pixels
    masks: Masks


class Cutout(NamedTuple):
    """A foreign object: a piece of another picture, and its shape.

    Attributes:
        texture: (h, h, 3) uint8.
        alpha: (h, h) float32 in [0, 1].
    """

    texture: Pixels
    alpha: NDArray[np.float32]


def cut_out(frames: Sequence[Pixels], height: int, random: np.random.Generator) -> Cutout:
    """Cuts an object out of foreign pictures: a box or a ball of the most structured of some random places.

    Args:
        frames: (S, S, 3) uint8 each, at least one.
        height: Of the object, in pixels, less than S.
        random: Chooses the shape and the places.
    """
    size = len(frames[0])
    places = [(int(random.integers(len(frames))), *random.integers(0, size - height, 2).tolist()) for _ in range(32)]
    pieces = [frames[index][y : y + height, x : x + height] for index, y, x in places]
    texture = max(pieces, key=lambda piece: float(piece.std()))
    shape = np.zeros((4 * height, 4 * height), np.float32)  # drawn larger, so that its edge is smooth
    if random.integers(2):
        cv2.rectangle(shape, (2, 2), (4 * height - 3, 4 * height - 3), 1, -1)
    else:
        cv2.circle(shape, (2 * height, 2 * height), 2 * height - 2, 1, -1)
    alpha = cv2.resize(shape, (height, height), interpolation=cv2.INTER_AREA)
    return Cutout(texture.copy(), np.asarray(alpha, np.float32))


def crossing(frames: Pixels, event: slice, cutout: Cutout, random: np.random.Generator) -> Staged:
    """Lets an object cross the picture, in from one side and out at the opposite one."""
    size, height = frames.shape[1], len(cutout.alpha)
    begin, end = random.uniform(0.1 * size, 0.9 * size - height, 2)
    way = np.array([[-height, begin], [size, end]])  # (x, y) of its upper left corner
    if random.integers(2):
        way = way[::-1]
    if random.integers(2):
        way = way[:, ::-1]
    count = event.stop - event.start
    steps = (np.arange(count) + 1) / (count + 1)
    return _put(frames, event, cutout, way[0] + steps[:, None] * (way[1] - way[0]), np.ones(count))


def left_behind(frames: Pixels, event: slice, cutout: Cutout, random: np.random.Generator) -> Staged:
    """Puts an object down somewhere; it stays where it is until it is taken away."""
    size, height = frames.shape[1], len(cutout.alpha)
    count = event.stop - event.start
    corner = random.uniform(0.05 * size, 0.95 * size - height, 2)
    return _put(frames, event, cutout, np.tile(corner, (count, 1)), _fading(count))


def covered(frames: Pixels, event: slice, random: np.random.Generator) -> Staged:
    """Covers one half of the lens with something dark and out of focus."""
    size = frames.shape[1]
    half = np.zeros((size, size), np.float32)
    half[: size // 2] = 1
    half = np.rot90(half, int(random.integers(4)))
    alpha = cv2.GaussianBlur(half, (0, 0), size / 40)[..., None]
    dark = np.float32(random.uniform(10, 50))
    staged, masks = frames.copy(), _no_masks(frames)
    for index, weight in zip(range(event.start, event.stop), _fading(event.stop - event.start), strict=True):
        staged[index] = np.rint(frames[index] + weight * alpha * (dark - frames[index]))
        masks[index] = half > 0
    return Staged(staged, masks)


def replayed(video: Pixels, order: NDArray[np.int64], event: slice) -> Staged:
    """Shows frames of a video in another order.

    Args:
        video: (N, S, S, 3) uint8.
        order: (F,), which of them is shown when.
        event: Where in ``order`` they are not shown as they came. What differs there from the frame that should have
            followed is abnormal; where nothing moves that is nothing, and the mask is empty.
    """
    masks = np.zeros((len(order), *video.shape[1:3]), np.bool_)
    for index in range(event.start, event.stop):
        masks[index] = moving(video[order[index]], video[order[index - 1] + 1])
    return Staged(video[order], masks)


def play_order(length: int, event: slice, step: int) -> NDArray[np.int64]:
    """Returns the order of frames of which a part is played at another speed, without a jump before it or after.

    Args:
        length: F, frames that are shown.
        event: Which of them are not shown as they came.
        step: Frames from one of these to the next: 2 for double speed, 0 for a picture that stands still, -1 for
            backwards.

    Returns:
        (F,), from 0.

    Example:
        >>> for step in (2, 0, -1):
        ...     print(play_order(6, slice(2, 4), step).tolist())
        [0, 1, 3, 5, 6, 7]
        [0, 1, 1, 1, 2, 3]
        [1, 2, 1, 0, 1, 2]
    """
    steps = np.ones(length, np.int64)
    steps[0], steps[event] = 0, step
    order: NDArray[np.int64] = np.cumsum(steps)
    order -= order.min()
    return order


def moving(frame: Pixels, other: Pixels) -> Masks:
    """Returns where two pictures of a camera differ by more than noise, (S, S)."""
    blurred = [cv2.GaussianBlur(picture, (5, 5), 0).astype(np.int16) for picture in (frame, other)]
    differs = (np.abs(blurred[0] - blurred[1]).max(-1) > MOVED).astype(np.uint8)
    opened = cv2.morphologyEx(differs, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.dilate(opened, np.ones((3, 3), np.uint8)), np.bool_)


def _fading(count: int) -> NDArray[np.float64]:
    """Returns the opacity, in each of so many frames, of what is put down and taken away again."""
    ramp = (np.arange(count) + 1) / FADE
    return np.minimum(1, np.minimum(ramp, ramp[::-1]))


def _no_masks(frames: Pixels) -> Masks:
    return np.zeros(frames.shape[:3], np.bool_)


def _put(
    frames: Pixels, event: slice, cutout: Cutout, corners: NDArray[np.float64], opacity: NDArray[np.float64]
) -> Staged:
    """Puts an object into the frames of an event: its upper left corner (x, y) and its opacity in each."""
    staged, masks = frames.copy(), _no_masks(frames)
    size = (frames.shape[2], frames.shape[1])
    for index, corner, weight in zip(range(event.start, event.stop), corners, opacity, strict=True):
        shift = np.array([[1, 0, corner[0]], [0, 1, corner[1]]])
        texture = cv2.warpAffine(cutout.texture, shift, size, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        alpha = cv2.warpAffine(cutout.alpha, shift, size)
        staged[index] = np.rint(frames[index] + weight * alpha[..., None] * (texture - frames[index]))
        masks[index] = alpha > 0.5
    return Staged(staged, masks)
