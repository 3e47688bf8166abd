"""Where in the frame a score comes from: the score that each place would give the frame by itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mnad.artifacts.maps import FrameMaps
from mnad.artifacts.measurements import Measurements
from mnad.evaluation.locality import Locality
from mnad.evaluation.normalisation import Bounds, parts_by_bounds
from mnad.evaluation.scores import ScoreWeight, combine
from mnad.measuring.metrics import psnr
from mnad.measuring.pooling import Pooling, box_by_place, error_level
from mnad.measuring.usual import Usual
from mnad.models import ModelConfig
from mnad.runtime.errors import DataError

CHUNK = 256
LARGEST = float(np.finfo(np.float16).max)


class ScoreMapping(NamedTuple):
    """How maps become maps of the score.

    Attributes:
        score_weight: lambda, or max for the larger part.
        locality: Which part of the frame is scored, not its mean.
        bounds: What scales P and D.
        channels: C, of the queries: D is the mean over them.
        usual: What is usual at each place, if the locality is relative.
    """

    score_weight: ScoreWeight
    locality: Locality
    bounds: Bounds
    channels: int
    usual: Usual | None = None

    def of(self, error: Tensor, distance: Tensor | None) -> NDArray[np.float64]:
        """Returns the score of each place, (B, G, G).

        The largest value of a frame is its score before smoothing, if it is of boxes and of P alone. D counts as if it
        were everywhere as far as at the place.

        Args:
            error: (B, G, G), squared errors on the scale [0, 1].
            distance: (B, h, w), squared distances of the queries from their items; None if there are none.

        Raises:
            DataError: If D counts and there are no distances.
        """
        if distance is None and self.score_weight != 1:
            raise DataError("the distance counts in the score, but there are no maps of it; score again with --maps")
        shape, pooling = error.shape, self.locality.pooling
        if self.locality.relative:
            assert self.usual is not None
            p = -_flat(_by_place(self.usual.to(error.device).excess(error_level(error.float())), pooling))
        else:
            p = psnr(_flat(_by_place(error.float(), pooling)))
        far = None
        if distance is not None and self.score_weight != 1:
            by_place = distance.float()[:, None] / self.channels
            far = _flat(F.interpolate(by_place, shape[1:], mode="nearest"))
        parts = parts_by_bounds(p, far, self.bounds, with_distance=far is not None)
        return combine(parts, self.score_weight if far is not None else 1).reshape(shape)


def score_maps(maps: FrameMaps, mapping: ScoreMapping) -> NDArray[np.float16]:
    """Returns the score of each place of all frames, (N, G, G).

    Args:
        maps: Of the frames.
        mapping: How they become maps of the score.
    """
    found = np.empty(maps.error.shape, np.float16)
    for first in range(0, len(found), CHUNK):
        rows = slice(first, first + CHUNK)
        distance = None if maps.distance is None else torch.from_numpy(maps.distance[rows])
        found[rows] = mapping.of(torch.from_numpy(maps.error[rows]), distance).clip(-LARGEST, LARGEST)
    return found


def channels_of(measurements: Measurements) -> int:
    """Returns C, of the queries of the model that measured."""
    return ModelConfig(width=measurements.protocol["model"]["width"]).channels


def _by_place(maps: Tensor, pooling: Pooling) -> Tensor:
    """Returns for each cell the mean of the box around it, (B, G, G); the cell itself where boxes are not pooled."""
    return box_by_place(maps, pooling) if pooling.startswith("box-") else maps


def _flat(maps: Tensor) -> NDArray[np.float64]:
    return maps.double().flatten().cpu().numpy()
