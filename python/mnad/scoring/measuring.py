"""Measuring: what a model makes of every frame of a set of clips."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mnad import __version__
from mnad.data import Clips, Windows, to_frames
from mnad.measurements import Measurements
from mnad.models import Autoencoder
from mnad.progress import track
from mnad.scoring.config import UpdateScope
from mnad.scoring.figures import psnr, query_distances, update_errors
from mnad.scoring.mapping import MapRecorder


@torch.inference_mode()
def measure(
    model: Autoencoder,
    clips: Clips,
    *,
    update: UpdateScope = "carried-over",
    threshold: float = 0.01,
    batch_size: int = 8,
    maps: MapRecorder | None = None,
    progress: bool = True,
) -> Measurements:
    """Measures every frame that the model restores; for prediction that is all but the first of each video.

    The model is put into evaluation mode. With a test-time update its items change.

    Args:
        model: A trained network.
        clips: The test frames.
        update: See :class:`ScoreConfig`; a model without memory has none.
        threshold: E_t below which a frame updates the items.
        batch_size: Frames at a time where there is no update.
        maps: Gathers the maps of the frames, too.
        progress: Whether to show a progress bar.

    Returns:
        Raw measurements, with how they were made.
    """
    model.eval()
    windows = Windows(clips, model.config.frames_in, model.config.target)
    owner = np.repeat(np.arange(len(clips.names)), np.diff(clips.starts))[windows.targets]
    if maps is not None:
        maps.begin(len(windows))
    rows: list[NDArray[np.float64]] = []
    nearest: list[NDArray[np.int32]] = []
    first_items = model.memory.items if model.memory is not None else None
    batches = _batches(owner, 1 if update != "none" else batch_size)
    for indices in track(batches, "scoring frames", len(batches), enabled=progress):
        begins = indices[0] == 0 or owner[indices[0]] != owner[indices[0] - 1]
        if update == "per-video" and begins and model.memory is not None and first_items is not None:
            model.memory.items = first_items
        figures, usage = _measure_batch(model, windows, indices.tolist(), update, threshold, maps)
        rows.append(figures)
        nearest.append(usage)
    mse, distance, update_error, updated = np.concatenate(rows, axis=1)
    return Measurements(
        videos=clips.names,
        video=owner,
        frame=windows.targets - clips.starts[owner],
        mse=mse,
        psnr=psnr(mse),
        distance=distance,
        update_error=update_error,
        updated=updated.astype(bool),
        nearest=np.concatenate(nearest),
        labels=None if clips.labels is None else clips.labels[windows.targets],
        protocol={
            "task": model.config.task,
            "memory": model.memory is not None,
            "labels": clips.label_source,
            "update": update,
            "threshold": threshold if update != "none" else None,
            "version": __version__,
        },
    )


def _measure_batch(
    model: Autoencoder,
    windows: Windows,
    indices: list[int],
    update: UpdateScope,
    threshold: float,
    maps: MapRecorder | None,
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Gives four rows, mse, distance, update error, whether the items were updated; and how the items were used."""
    device = next(model.parameters()).device
    pixels = windows.__getitems__(indices).to(device)
    frames = to_frames(pixels, model.config.image_channels)
    shown = frames[:, : model.config.frames_in].flatten(1, 2)
    restored = model(shown.contiguous(memory_format=torch.channels_last))
    errors = ((restored.frames - frames[:, -1]) / 2).square()
    update_error = update_errors(errors)
    updated = torch.zeros_like(update_error)
    distance = torch.full_like(update_error, torch.nan)
    distance_map = None
    usage = torch.zeros(len(frames), 0, dtype=torch.int64)
    if restored.memory is not None and model.memory is not None:
        distance = restored.memory.compactness
        if maps is not None:
            distance_map = query_distances(restored.memory, model.memory.items)
        M = model.memory.num_items
        usage = torch.stack([torch.bincount(one.flatten(), minlength=M) for one in restored.memory.nearest])
        if update != "none" and bool(update_error < threshold):
            model.memory.update(restored.features)
            updated += 1
    if maps is not None:
        maps.add(indices, errors, distance_map, pixels[:, -1], restored.frames)
    columns = torch.stack([errors.mean(dim=(1, 2, 3)), distance, update_error, updated])
    return columns.double().cpu().numpy(), usage.to("cpu", torch.int32).numpy()


def _batches(owner: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    indices = np.arange(len(owner))
    return [indices[first : first + size] for first in range(0, len(owner), size)]
