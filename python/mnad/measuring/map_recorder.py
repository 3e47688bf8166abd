"""Maps of scored frames, gathered while they are measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnad.artifacts.maps import ERROR_GRID, PICTURE_SIZE, FrameMaps


class MapRecorder:
    """Gathers the maps of frames in whatever order they come."""

    def __init__(self) -> None:
        self._count = 0
        self._arrays: dict[str, NDArray[np.generic]] = {}

    def begin(self, count: int) -> None:
        """Sets the number of frames, and forgets what was gathered."""
        self._count, self._arrays = count, {}

    def add(
        self, rows: Sequence[int], errors: Tensor, distance: Tensor | None, target: Tensor, restored: Tensor
    ) -> None:
        """Stores the maps of some frames.

        Args:
            rows: The numbers of the F frames.
            errors: (F, C_img, S, S), squared errors on the scale [0, 1].
            distance: (F, h, w), squared distances of the queries from their nearest items; None without a memory.
            target: (F, S, S, 1 or 3) uint8, the frames that were to be restored.
            restored: (F, C_img, S, S) in [-1, 1], what the model gave.
        """
        found = {
            "error": area_average(errors.float().mean(1), ERROR_GRID).half(),
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


def area_average(images: Tensor, size: int) -> Tensor:
    """Shrinks images so that each cell is the mean of the area it covers, and the mean of all cells that of all pixels.

    Args:
        images: (..., S, S), floating.
        size: G, which need not divide S; images that are smaller stay as they are.

    Returns:
        (..., G, G).

    Example:
        >>> import torch
        >>> area_average(torch.tensor([[0.0, 3.0, 6.0]]).expand(3, 3), 2)[0].tolist()
        [1.0, 5.0]
    """
    full = images.shape[-1]
    if full <= size:
        return images
    edges = torch.arange(size + 1, dtype=torch.float64, device=images.device) * full / size
    pixels = torch.arange(full, dtype=torch.float64, device=images.device)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    averaging = (overlap.clamp_min(0) * size / full).to(images.dtype)
    return averaging @ images @ averaging.t()


def _pictures(images: Tensor) -> Tensor:
    return area_average(images, PICTURE_SIZE).round().clamp(0, 255).byte().movedim(1, -1)
