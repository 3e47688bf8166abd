"""What is usual at each place, learned from normal video for a calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.measuring.pooling import error_level, pool
from mnad.measuring.usual import Usual, usual_error
from mnad.runtime.errors import DataError

FOLDS = 4


def learn_usual(measured: Measurements, errors: NDArray[np.float32]) -> tuple[Measurements, Usual]:
    """Learns the usual error of each place, and sets frames in relation to it.

    It is learned from frames that were held out, as a model's errors are small where it was trained. That each of them
    is not compared with itself, they are divided into four parts, each set in relation to the other three.

    Args:
        measured: Measurements of N frames of normal video that the model was not trained on.
        errors: (N, G, G), their error maps.

    Returns:
        The measurements, now with relative P, and what is usual.

    Raises:
        DataError: If there are too few frames.
    """
    if len(measured) < FOLDS:
        raise DataError(
            f"{len(measured)} frames were held out, too few to tell what is usual at each place; hold out more, or do "
            "without it: --no-relative"
        )
    usual = Usual(usual_error(errors.mean(axis=0, dtype=np.float64)))
    protocol = {**measured.protocol, "usual": usual.identity}
    return replace(measured, relative_psnr=_cross_fitted(errors), protocol=protocol), usual


def _cross_fitted(errors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the relative P of each frame, its usual errors learned from the frames of other parts."""
    parts = np.array_split(errors, FOLDS)
    sums = [part.sum(axis=0, dtype=np.float64) for part in parts]
    found = []
    for part, own in zip(parts, sums, strict=True):
        usual = Usual(usual_error((sum(sums) - own) / (len(errors) - len(part))))
        found.append(-pool(usual.excess(error_level(torch.from_numpy(part)))).double().numpy())
    return np.concatenate(found)
