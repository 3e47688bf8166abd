"""What is usual at each place, learned from normal video for a calibration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.data import Clips
from mnad.measuring import measure
from mnad.measuring.map_recorder import ErrorRecorder
from mnad.measuring.pooling import error_level, pool
from mnad.measuring.usual import Usual, usual_error
from mnad.models import Autoencoder
from mnad.runtime.errors import DataError

FOLDS = 4


def learn_usual(model: Autoencoder, held_out: Clips, **update: Any) -> tuple[Measurements, Usual]:
    """Learns the usual error of each place, and measures held-out frames in relation to it.

    It is learned from frames that were held out, as a model's errors are small where it was trained. That each of them
    is not compared with itself, they are divided into four parts, each measured in relation to the other three.

    Args:
        model: A trained network.
        held_out: Normal video that it was not trained on.
        **update: The test-time update, as :func:`mnad.measuring.measure` takes it.

    Returns:
        Measurements of the held-out frames, and what is usual.

    Raises:
        DataError: If there are too few frames.
    """
    recorder = ErrorRecorder()
    measured = measure(model, held_out, maps=recorder, **update)
    if len(measured) < FOLDS:
        raise DataError(
            f"{len(measured)} frames were held out, too few to tell what is usual at each place; hold out more, or do "
            "without it: --no-relative"
        )
    usual = Usual(usual_error(recorder.errors.mean(axis=0, dtype=np.float64)))
    protocol = {**measured.protocol, "usual": usual.identity}
    return replace(measured, relative_psnr=_cross_fitted(recorder.errors), protocol=protocol), usual


def _cross_fitted(errors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the relative P of each frame, its usual errors learned from the frames of other parts."""
    parts = np.array_split(errors, FOLDS)
    sums = [part.sum(axis=0, dtype=np.float64) for part in parts]
    found = []
    for part, own in zip(parts, sums, strict=True):
        usual = Usual(usual_error((sum(sums) - own) / (len(errors) - len(part))))
        found.append(-pool(usual.excess(error_level(torch.from_numpy(part)))).double().numpy())
    return np.concatenate(found)
