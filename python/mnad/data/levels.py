"""From deep pixels to bytes: which value of a 16-bit camera is black, and which is white."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnad.runtime.errors import ConfigError, DataError
from mnad.runtime.places import Place

# Dead and hot pixels of a frame; what is left out of it is clipped, not lost.
OUTLIERS = 0.001
LEAST_SPAN = 256  # noise of a few counts is not to fill the picture
LEAST_SHOWN = 0.2  # of the range of some frames; who sees less is warned
MARGIN = 0.25  # on either side: what is to be noticed may be warmer or colder than anything that was trained on


@dataclass(frozen=True)
class Levels:
    """A linear map of pixels of more than 8 bits to bytes.

    One map serves training and test: it is chosen from the training frames, or given, and stored with the model.

    Attributes:
        black: The value that becomes 0, and all below it.
        white: The value that becomes 255, and all above it.

    Raises:
        ConfigError: If white is not greater than black, or either is not finite.

    Example:
        >>> import numpy as np
        >>> Levels(7800, 8055).to_bytes(np.array([0, 7800, 7900, 65535], np.uint16)).tolist()
        [0, 0, 100, 255]
    """

    black: float
    white: float

    def __post_init__(self) -> None:
        """Checks the order."""
        if not np.isfinite([self.black, self.white]).all() or self.white <= self.black:
            raise ConfigError(f"levels must be two numbers, black less than white, got {self.black} and {self.white}")

    def to_bytes(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Returns pixels of any kind as bytes; one that is not a number is black."""
        scaled = (pixels.astype(np.float32) - np.float32(self.black)) * np.float32(255 / (self.white - self.black))
        levels: NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8)
        return levels


class ValueRange(NamedTuple):
    """Between which values frames of more than 8 bits lie, outliers left out, and whether they are whole numbers."""

    low: float
    high: float
    whole: bool


def range_of(frames: Iterable[NDArray[Any]]) -> ValueRange | None:
    """Returns the lowest and the highest value of frames; None if all have 8 bits."""
    found = None
    for frame in frames:
        if frame.dtype == np.uint8:
            continue
        whole = np.issubdtype(frame.dtype, np.integer)
        finite = frame[np.isfinite(frame)]
        if finite.size:
            low, high = map(float, np.quantile(finite, [OUTLIERS, 1 - OUTLIERS]))
            found = _wider(found, ValueRange(low, high, bool(whole)))
    return found


def levels_by(ranges: Iterable[ValueRange | None]) -> Levels | None:
    """Chooses levels by which frames of more than 8 bits keep their content.

    From the lowest to the highest value of any frame, a thousandth of its pixels on either side left out, and at least
    256 apart (1 where pixels are fractions); then a quarter more on either side.

    Args:
        ranges: Of some videos each.

    Returns:
        The levels; None if all frames have 8 bits.
    """
    found = None
    for each in ranges:
        if each is not None:
            found = _wider(found, each)
    if found is None:
        return None
    low, high, whole = found
    span = max(high - low, LEAST_SPAN if whole else 1)
    middle, half = (low + high) / 2, span * (0.5 + MARGIN)
    black, white = middle - half, middle + half
    return Levels(math.floor(black), math.ceil(white)) if whole else Levels(black, white)


def _wider(found: ValueRange | None, other: ValueRange) -> ValueRange:
    if found is None:
        return other
    return ValueRange(min(found.low, other.low), max(found.high, other.high), found.whole or other.whole)


def settle_levels(
    found: Mapping[str, tuple[float, float] | None], given: tuple[float, float] | None = None
) -> tuple[float, float] | None:
    """Settles by which black and white pixels of more than 8 bits become bytes.

    Args:
        found: What :func:`mnad.data.looks.levels_shown` gives for each split of the data.
        given: What is to be used instead of what the training frames suggest.

    Returns:
        Black and white; None if no frame has more than 8 bits.

    Raises:
        DataError: If one split has more than 8 bits and the other has not, or no split says what is black and white.
        ConfigError: If levels are given and no frame has more than 8 bits.

    Example:
        >>> settle_levels({"training": (7800.0, 8200.0), "testing": (7000.0, 9000.0)})
        (7800.0, 8200.0)
    """
    deep = [name for name, levels in found.items() if levels]
    if not deep:
        if given:
            raise ConfigError(
                f"levels {given} are for pixels of more than 8 bits, and the frames have 8; give none, or, with a "
                "model that was trained by levels, frames as it knows them"
            )
        return None
    if len(deep) < len(found):
        raise DataError(f"only the {deep[0]} frames have more than 8 bits a pixel; make both of the same kind")
    levels = given or found.get("training")
    if levels is None:
        raise DataError(
            "the frames have more than 8 bits a pixel, and there are no training videos by which black and white are "
            "chosen: give --levels BLACK,WHITE"
        )
    return levels


def out_of_levels(levels: tuple[float, float], found: Mapping[str, tuple[float, float] | None]) -> Iterator[str]:
    """Yields the splits of which levels show little, as almost all is black or white by them.

    Args:
        levels: By which pixels become bytes.
        found: What :func:`mnad.data.looks.levels_shown` gives for each split.
    """
    for name, own in found.items():
        if own is None:
            continue
        shown = (min(own[1], levels[1]) - max(own[0], levels[0])) / (own[1] - own[0])
        if shown < LEAST_SHOWN:
            yield (
                f"the {name} frames lie between {own[0]:g} and {own[1]:g}, margins included, and the levels {levels} "
                f"show {max(0, shown):.0%} of that"
            )


def as_bytes(pixels: NDArray[Any], levels: Levels | None, path: Place) -> NDArray[np.uint8]:
    """Returns pixels of a file as bytes.

    Raises:
        DataError: If they have more than 8 bits and there are no levels.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if levels is None:
        raise DataError(
            f"{path} has {8 * pixels.itemsize} bits a pixel, and nothing says which value is black and which white: "
            "give --levels BLACK,WHITE"
        )
    return levels.to_bytes(pixels)
