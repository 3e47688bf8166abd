"""Smoothing of scores over time, each stretch of frames in a row by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from mnad.runtime.choices import check_choices
from mnad.runtime.errors import ConfigError

SmoothingName = Literal["none", "gaussian", "median", "causal"]


@dataclass(frozen=True)
class Smoothing:
    """How scores are smoothed.

    Attributes:
        name: ``none`` (published); ``gaussian``, a weighted mean with the width as standard deviation; ``median`` of
            a window of the width around each frame; ``causal``, the mean of the last frames, the frame itself
            included, which never looks ahead. The first two see a stretch mirrored at its ends.
        width: In frames, at least 1; for ``median`` odd.

    Raises:
        ConfigError: If there is no such smoothing, or the width does not fit.
    """

    name: SmoothingName = "none"
    width: int = 5

    @property
    def looks_ahead(self) -> bool:
        """Whether a frame's score depends on frames that come after it."""
        return self.name in ("gaussian", "median")

    def __post_init__(self) -> None:
        """Checks name and width."""
        check_choices(self)
        if self.width < 1:
            raise ConfigError(f"smoothing_width must be at least 1 frame, got {self.width}")
        if self.name == "median" and self.width % 2 == 0:
            raise ConfigError(f"smoothing_width must be odd for median, got {self.width}")


NO_SMOOTHING = Smoothing()


def smooth(
    scores: NDArray[np.float64], stretch: NDArray[np.int64], smoothing: Smoothing = NO_SMOOTHING
) -> NDArray[np.float64]:
    """Smooths scores over frames in a row.

    Args:
        scores: (..., N), the scores of all frames.
        stretch: (N,), the stretch of each frame: a video, or what of it lies between frames that were left out.
        smoothing: How.

    Returns:
        (..., N), within the range of the scores of the same stretch.

    Example:
        >>> import numpy as np
        >>> smooth(np.array([0.0, 1.0, 0.0, 9.0]), np.array([0, 0, 0, 1]), Smoothing("causal", 2)).tolist()
        [0.0, 0.5, 0.5, 9.0]
    """
    if smoothing.name == "none":
        return scores
    smoothed = np.empty_like(scores)
    for index in np.unique(stretch):
        chosen = stretch == index
        smoothed[..., chosen] = _smooth_stretch(scores[..., chosen], smoothing)
    return smoothed


def _smooth_stretch(scores: NDArray[np.float64], smoothing: Smoothing) -> NDArray[np.float64]:
    width = smoothing.width
    if smoothing.name == "gaussian":
        result: NDArray[np.float64] = gaussian_filter1d(scores, width, mode="reflect")
    elif smoothing.name == "median":
        result = median_filter(scores, size=(1,) * (scores.ndim - 1) + (width,), mode="reflect")
    else:
        frames = scores.shape[-1]
        total = scores.copy()
        for delay in range(1, min(width, frames)):  # no running sum: its rounding errors would add up
            total[..., delay:] += scores[..., :-delay]
        result = total / np.minimum(np.arange(frames) + 1, width)
    return result
