"""Where in the picture a score comes from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np

from mnad.watching.recorder import Heat
from mnad.watching.streams import FrameResult
from mnad.watching.zones import Zone, watched_cells, zone_at

# A score that is high at so large a share of the places is of no object: the whole scene has changed.
EVERYWHERE = 0.8


class Places:
    """The places of a stream's picture that are watched.

    Args:
        zones: Of the stream.

    Raises:
        ConfigError: If they leave nothing of the picture.
    """

    def __init__(self, zones: Sequence[Zone]) -> None:
        self.zones = zones
        self._cells = lru_cache(2)(partial(watched_cells, zones))

    def of(self, result: FrameResult) -> tuple[str, Heat | None]:
        """Returns the zone of a frame's score, and where it comes from as a map; None without a score."""
        scores, errors = result.score_map, result.error_map
        values = errors if scores is None else scores
        if values is None:
            return "", None
        heat = Heat(values, of_score=scores is not None)
        if not self.zones:
            return "", heat
        within = np.where(self._cells(len(values)), values, -np.inf)
        row, column = divmod(int(within.argmax()), within.shape[1])
        return zone_at(self.zones, (row, column), len(values)), heat

    def is_everywhere(self, result: FrameResult, threshold: float) -> bool:
        """Whether a frame's score is above the threshold nearly everywhere; False where there is no map of it."""
        if result.score is None or result.score <= threshold or (scores := result.score_map) is None:
            return False
        return float((scores[self._cells(len(scores))] > threshold).mean()) >= EVERYWHERE
