"""Maps of scored frames, gathered while they are measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mnad.artifacts.maps import PICTURE_SIZE, FrameMaps
from mnad.measuring.pooling import area_average


class ErrorRecorder:
    """Gathers the error maps of frames alone, as :class:`MapRecorder` gathers all maps.

    Attributes:
        errors: (N, G, G) float32, once all have come.
    """

    def __init__(self) -> None:
        self.errors = np.empty((0, 0, 0), np.float32)

    def begin(self, count: int) -> None:
        """Sets the number of frames, and forgets what was gathered."""
        self.errors = np.empty((count, 0, 0), np.float32)

    def add(self, rows: Sequence[int], error: Tensor, *_: Tensor | None) -> None:
        """Stores the error maps (F, G, G) of some frames."""
        if self.errors.size == 0:
            self.errors = np.empty((len(self.errors), *error.shape[1:]), np.float32)
        self.errors[rows] = error.cpu().numpy()


class MapRecorder:
    """Gathers the maps of frames in whatever order they come."""

    def __init__(self) -> None:
        self._count = 0
        self._arrays: dict[str, NDArray[np.generic]] = {}

    def begin(self, count: int) -> None:
        """Sets the number of frames, and forgets what was gathered."""
        self._count, self._arrays = count, {}

    def add(
        self,
        rows: Sequence[int],
        error: Tensor,
        distance: Tensor | None,
        target: Tensor,
        restored: Tensor,
    ) -> None:
        """Stores the maps of some frames.

        Args:
            rows: The numbers of the F frames.
            error: (F, G, G), the mean squared error of each cell, on the scale [0, 1].
            distance: (F, h, w), squared distances of the queries from their nearest items; None without a memory.
            target: (F, S, S, 1 or 3) uint8, the frames that were to be restored.
            restored: (F, C_img, S, S) in [-1, 1], what the model gave.
        """
        found = {
            "error": error.half(),
            "target": _pictures(target.float().movedim(-1, 1)),
            "restored": _pictures((restored.float() + 1) * 127.5),
        }
        if distance is not None:
            found["distance"] = distance.half()
        for name, values in found.items():
            array = values.cpu().numpy()
            if name not in self._arrays:
                self._arrays[name] = np.empty((self._count, *array.shape[1:]), array.dtype)
            self._arrays[name][rows] = array

    def maps(self) -> FrameMaps:
        """Returns the maps of all frames, once all have come."""
        return FrameMaps(**{"distance": None, **self._arrays})  # type: ignore[arg-type]


def _pictures(images: Tensor) -> Tensor:
    return area_average(images, PICTURE_SIZE).round().clamp(0, 255).byte().movedim(1, -1)
