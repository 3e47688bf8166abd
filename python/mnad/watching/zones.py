"""Zones of a picture: where alarms are not wanted, or where alone they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mnad.runtime.choices import check_choices
from mnad.runtime.errors import ConfigError
from mnad.watching.streams import Region

SUBPIXEL = 16  # a cell belongs to a zone if half of these parts of its side squared do


@dataclass(frozen=True)
class Zone:
    """A polygon in the picture.

    Attributes:
        polygon: Its corners, each (x, y) as shares of the picture's width and height, from 0 at the left and the top to
            1 at the right and the bottom.
        name: What events in it are called by.
        kind: only, if alarms are wanted within such zones alone; ignore, if they are not wanted there.

    Raises:
        ConfigError: If it lies outside of the picture, or has fewer than three corners.
    """

    polygon: tuple[tuple[float, float], ...]
    name: str = ""
    kind: Literal["only", "ignore"] = "only"

    def __post_init__(self) -> None:
        """Checks the corners."""
        check_choices(self)
        named = f"the zone {self.name!r}" if self.name else "a zone"
        if len(self.polygon) < 3:
            raise ConfigError(f"{named} must have three corners or more, got {len(self.polygon)}")
        outside = [corner for corner in self.polygon if not all(0 <= value <= 1 for value in corner)]
        if outside:
            raise ConfigError(
                f"{named} has the corner {tuple(outside[0])} outside of the picture: x and y are shares of its width "
                "and height, from 0 to 1"
            )

    def cells(self, size: int) -> NDArray[np.bool_]:
        """Returns which cells of a picture of size x size cells belong to it, (size, size).

        Example:
            >>> Zone(((0, 0), (0.5, 0), (0.5, 1), (0, 1))).cells(4)[0].tolist()
            [True, True, False, False]
        """
        fine = np.zeros((size * SUBPIXEL, size * SUBPIXEL), np.uint8)
        corners = np.round(np.array(self.polygon) * size * SUBPIXEL - 0.5).astype(np.int32)
        cv2.fillPoly(fine, [corners], 1)
        shares = fine.reshape(size, SUBPIXEL, size, SUBPIXEL).mean(axis=(1, 3))
        return np.asarray(shares >= 0.5)


def region_of(zones: Sequence[Zone], grid: int, queries: int) -> Region | None:
    """Returns the part of the picture that is watched; None if it is all of it.

    Args:
        zones: Of the stream.
        grid: G, of the maps of errors.
        queries: Height and width of the map of queries.

    Raises:
        ConfigError: If nothing is left of the picture.
    """
    if not zones:
        return None
    return Region(torch.from_numpy(watched_cells(zones, grid)), torch.from_numpy(watched_cells(zones, queries)))


def zone_at(zones: Sequence[Zone], place: tuple[int, int], grid: int) -> str:
    """Returns the name of the zone in which a cell (row, column) lies; nothing if it lies in none.

    Args:
        zones: Of the stream; those that are ignored do not count.
        place: The cell.
        grid: Into how many cells the picture's sides are divided.
    """
    return next((zone.name for zone in zones if zone.kind == "only" and zone.cells(grid)[place]), "")


def watched_cells(zones: Sequence[Zone], size: int) -> NDArray[np.bool_]:
    """Returns which cells of a picture of size x size cells are watched, (size, size).

    Raises:
        ConfigError: If none is.
    """
    only = [zone.cells(size) for zone in zones if zone.kind == "only"]
    watched = np.any(only, axis=0) if only else np.ones((size, size), np.bool_)
    for zone in zones:
        if zone.kind == "ignore":
            watched &= ~zone.cells(size)
    if not watched.any():
        raise ConfigError(f"the zones leave nothing of the picture to watch, divided into {size} x {size} cells")
    return np.asarray(watched)
