"""Which part of a frame its P is made of: all of it, or where the error is largest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mnad.artifacts.measurements import Measurements
from mnad.measuring.pooling import Pooling
from mnad.runtime.choices import check_choices
from mnad.runtime.errors import ConfigError, DataError


@dataclass(frozen=True)
class Locality:
    """Which part of a frame P is of; D is always of the whole frame.

    Attributes:
        pooling: ``mean``, all of it, as published; ``box-5``, the square of 5 x 5 of 64 x 64 cells where the error is
            largest; ``top-1%``, the hundredth of the cells where it is largest. See
            :func:`mnad.measuring.pooling.pool`.
        relative: Whether errors count in relation to the usual error of their place, see
            :class:`mnad.measuring.usual.Usual`.

    Raises:
        ConfigError: If there is no such pooling, or the mean of the frame is to be relative.
    """

    pooling: Pooling = "mean"
    relative: bool = False

    def __post_init__(self) -> None:
        """Checks that the two fit each other."""
        check_choices(self)
        if self.relative and self.pooling == "mean":
            raise ConfigError("relative is of places in the frame: give a pooling such as box-5, too, not mean")

    @property
    def array(self) -> str:
        """The name of P in measurements."""
        if self.pooling == "mean":
            return "psnr"
        return "relative_psnr" if self.relative else "local_psnr"


WHOLE_FRAME = Locality()


def localised(measurements: Measurements, locality: Locality) -> Measurements:
    """Returns measurements whose P is that of a part of each frame.

    Args:
        measurements: Raw measurements.
        locality: Which part.

    Raises:
        DataError: If relative measurements are asked for and were not made.
    """
    if locality == WHOLE_FRAME:
        return measurements
    if locality.pooling not in measurements.poolings:
        raise DataError(
            f"the frames were measured with the poolings {', '.join(measurements.poolings)}, not with "
            f"{locality.pooling}; score again"
        )
    column = measurements.poolings.index(locality.pooling)
    psnr = getattr(measurements, locality.array)
    if locality.relative and np.isnan(psnr).any():
        raise DataError(
            "the frames were measured without knowing what is usual at their place, which mnad calibrate learns; "
            "calibrate the model, then score again"
        )
    protocol = {**measurements.protocol, "pooling": locality.pooling, "relative": locality.relative}
    return replace(measurements, psnr=psnr[:, column], protocol=protocol)


def locality_of(measurements: Measurements) -> Locality:
    """Returns the part of the frame that :func:`localised` has put into measurements."""
    return Locality(measurements.protocol.get("pooling", "mean"), measurements.protocol.get("relative", False))
