"""What is usual at each place, learned from normal video for a calibration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnad.artifacts.measurements import Measurements
from mnad.data import Clips, Windows
from mnad.data.clips import evenly
from mnad.measuring import measure
from mnad.measuring.map_recorder import ErrorRecorder
from mnad.measuring.network import Network
from mnad.measuring.pooling import error_level, pool
from mnad.measuring.usual import Usual, usual_error, usual_features
from mnad.models import Autoencoder
from mnad.runtime.errors import DataError
from mnad.runtime.progress import track

MOST_WINDOWS = 1000
BATCH, FOLDS = 8, 4


def learn_usual(
    model: Autoencoder, clips: Clips, held_out: Clips, share: float, **update: Any
) -> tuple[Measurements, Usual]:
    """Learns what is usual at each place, and measures held-out frames in relation to it.

    The usual features are learned from frames that the model was trained on; the usual errors from those that were held
    out, as a model's errors are small where it was trained. That each held-out frame is not compared with itself, these
    are divided into four parts, each measured in relation to the other three.

    Args:
        model: A trained network.
        clips: Normal video.
        held_out: The end of each of its videos.
        share: What share of them that is.
        **update: The test-time update, as :func:`mnad.measuring.measure` takes it.

    Returns:
        Measurements of the held-out frames, and what is usual.

    Raises:
        DataError: If there are too few frames.
    """
    windows = Windows(clips, model.config.frames_in, model.config.target, hold_out=share)
    mean, spread = usual_features(_features(Network(model), windows))
    recorder = ErrorRecorder()
    grid = torch.zeros((), device=mean.device)
    measured = measure(model, held_out, usual=Usual(grid, mean, spread), maps=recorder, **update)
    if len(measured) < FOLDS:
        raise DataError(
            f"{len(measured)} frames were held out, too few to tell what is usual at each place; hold out more, or do "
            "without it: --no-relative"
        )
    usual = Usual(usual_error(recorder.errors.mean(axis=0, dtype=np.float64)), mean.cpu(), spread.cpu())
    protocol = {**measured.protocol, "usual": usual.identity}
    return replace(measured, relative_psnr=_cross_fitted(recorder.errors), protocol=protocol), usual


@torch.inference_mode()
def _features(network: Network, windows: Windows) -> Iterator[Tensor]:
    """Yields the features of up to a thousand windows from all over the video."""
    chosen = evenly(len(windows), MOST_WINDOWS)
    batches = [chosen[first : first + BATCH].tolist() for first in range(0, len(chosen), BATCH)]
    for batch in track(batches, "learning what is usual", len(batches)):
        yield network.encode(windows.__getitems__(batch)).features


def _cross_fitted(errors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the relative P of each frame, its usual errors learned from the frames of other parts."""
    parts = np.array_split(errors, FOLDS)
    sums = [part.sum(axis=0, dtype=np.float64) for part in parts]
    unfinished = torch.zeros(())
    found = []
    for part, own in zip(parts, sums, strict=True):
        others = (sum(sums) - own) / (len(errors) - len(part))
        usual = Usual(usual_error(others), unfinished, unfinished)
        found.append(-pool(usual.excess(error_level(torch.from_numpy(part)))).double().numpy())
    return np.concatenate(found)
