"""How PSNR and distance are brought to one scale before they are added up.

All of it is one formula, g(x) = (x - low) / (high - low); what differs is whose lowest and highest value counts.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.runtime.choices import check_choices
from mnad.runtime.errors import ConfigError, DataError

Normalisation = Literal["per-video", "global", "train", "causal", "calibrated"]
# Measurements are made in float32: values that differ by less than this share of themselves do not differ.
ROUNDING = 1e-6

Range = tuple[float, float]


class Bounds(NamedTuple):
    """The lowest and highest P and D of some normal video; D's is None without a memory."""

    psnr: Range
    distance: Range | None


class Parts(NamedTuple):
    """How abnormal each frame is by its PSNR and by its distance, (N,) each; D's is None where it does not count."""

    psnr: NDArray[np.float64]
    distance: NDArray[np.float64] | None


@dataclass(frozen=True)
class Scaling:
    """Whose lowest and highest value make g.

    Attributes:
        name: ``per-video``, of all frames of the same video (published); ``global``, of all frames; ``train``, of the
            training set's own measurements; ``causal``, of the same video up to the frame itself, which never looks
            ahead; ``calibrated``, of the frames that ``mnad calibrate`` measured.
        bounds: The values themselves for ``train`` and ``calibrated``; with them g may leave [0, 1].

    Raises:
        ConfigError: If there is no such normalisation, or bounds are missing or not wanted.
    """

    name: Normalisation = "per-video"
    bounds: Bounds | None = None

    def __post_init__(self) -> None:
        """Checks the name, and that there are bounds where they are needed."""
        check_choices(self)
        if (self.bounds is not None) != (self.name in ("train", "calibrated")):
            wanted = "needs the bounds of normal video" if self.bounds is None else "takes no bounds"
            raise ConfigError(f"the normalisation {self.name} {wanted}")


PER_VIDEO = Scaling()


def bounds_of(measurements: Measurements) -> Bounds:
    """Returns the lowest and highest P and D of all frames.

    Raises:
        DataError: If a value is not finite.
    """
    check_finite(measurements, "PSNR", measurements.psnr)
    psnr = (float(measurements.psnr.min()), float(measurements.psnr.max()))
    if not measurements.protocol["memory"]:
        return Bounds(psnr, None)
    check_finite(measurements, "distance D", measurements.distance)
    return Bounds(psnr, (float(measurements.distance.min()), float(measurements.distance.max())))


def parts_of(measurements: Measurements, scaling: Scaling = PER_VIDEO, *, with_distance: bool = True) -> Parts:
    """Returns 1 - g(P) and g(D) of each frame.

    A P or D that is constant where g looks (a flat video, a collapsed memory, a single frame, the first frame of
    ``causal``) tells nothing and adds nothing: its part is 0, never NaN. Videos that are flat as a whole are named in a
    warning.

    Args:
        measurements: Raw measurements.
        scaling: Whose lowest and highest value count.
        with_distance: Whether D counts at all.

    Raises:
        DataError: If a value is not finite.
        ConfigError: If bounds without D are to scale D.
    """
    bounds = scaling.bounds
    g, informed = _normalise(measurements, "PSNR", measurements.psnr, scaling, bounds and bounds.psnr)
    psnr = np.where(informed, 1 - g, 0)
    if not with_distance:
        return Parts(psnr, None)
    if bounds is not None:
        _check_scales_distance(bounds)
    g, informed = _normalise(measurements, "distance D", measurements.distance, scaling, bounds and bounds.distance)
    return Parts(psnr, np.where(informed, g, 0))


def parts_by_bounds(
    psnr: NDArray[np.float64], distance: NDArray[np.float64] | None, bounds: Bounds, *, with_distance: bool = True
) -> Parts:
    """Returns 1 - g(P) and g(D) of frames that are scaled by given bounds, each by itself.

    Args:
        psnr: (N,), P.
        distance: (N,), D; None without a memory.
        bounds: Of normal video. Where the lowest and the highest value are one, the part is 0.
        with_distance: Whether D counts at all.

    Raises:
        ConfigError: If bounds without D are to scale D.

    Example:
        >>> parts_by_bounds(np.array([30.0, 25.0]), np.array([0.2, 0.6]), Bounds((20.0, 30.0), (0.2, 0.4)))
        Parts(psnr=array([0. , 0.5]), distance=array([0., 2.]))
    """
    g, informed = _scale(psnr, *(np.full_like(psnr, limit) for limit in bounds.psnr))
    of_psnr = np.where(informed, 1 - g, 0)
    if not with_distance or distance is None:
        return Parts(of_psnr, None)
    g, informed = _scale(distance, *(np.full_like(distance, limit) for limit in _check_scales_distance(bounds)))
    return Parts(of_psnr, np.where(informed, g, 0))


def check_finite(measurements: Measurements, what: str, values: NDArray[np.float64]) -> None:
    """Makes sure that values are finite.

    Raises:
        DataError: If they are not; the message names the first video.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        video = measurements.video[np.argmax(bad)]
        count = int(bad[measurements.video == video].sum())
        raise DataError(
            f"the {what} of video {measurements.videos[video]} is not finite in {count} frames; the model diverged"
        )


def _normalise(
    measurements: Measurements, what: str, values: NDArray[np.float64], scaling: Scaling, given: Range | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Returns g of each frame, and where it says anything."""
    check_finite(measurements, what, values)
    low, high = _limits(measurements, values, scaling.name, given)
    g, informed = _scale(values, low, high)
    _warn_of_flat(measurements, what, informed, scaling.name)
    return g, informed


def _check_scales_distance(bounds: Bounds) -> Range:
    if bounds.distance is None:
        raise ConfigError("the bounds are those of a model without memory; they cannot scale the distance D")
    return bounds.distance


def _scale(
    values: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Returns (x - low) / (high - low), and where these differ by more than rounding."""
    spread = high - low
    informed = spread > ROUNDING * np.maximum(np.abs(low), np.abs(high))
    return (values - low) / np.where(informed, spread, 1), informed


def _limits(
    measurements: Measurements, values: NDArray[np.float64], name: Normalisation, given: Range | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if given is not None:
        return np.full_like(values, given[0]), np.full_like(values, given[1])
    low, high = np.full_like(values, values.min()), np.full_like(values, values.max())
    if name == "global":
        return low, high
    for index in range(len(measurements.videos)):
        chosen = measurements.video == index
        if not chosen.any():
            continue
        own = values[chosen]
        causal = name == "causal"
        low[chosen] = np.minimum.accumulate(own) if causal else own.min()
        high[chosen] = np.maximum.accumulate(own) if causal else own.max()
    return low, high


def _warn_of_flat(measurements: Measurements, what: str, informed: NDArray[np.bool_], name: Normalisation) -> None:
    if name in ("per-video", "causal"):
        flat = [
            video
            for index, video in enumerate(measurements.videos)
            if (chosen := measurements.video == index).any() and not informed[chosen].any()
        ]
        place = f"of video {', '.join(flat)}" if flat else None
    else:
        place = None if informed.any() else "of the frames that it is scaled by"
    if place:
        warnings.warn(f"the {what} {place} is constant and tells nothing: it counts as 0", stacklevel=2)
