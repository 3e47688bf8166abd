"""Measuring: what a model makes of every frame of a set of clips."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.data import Clips, Windows
from mnad.measuring.blocks import plan_blocks, read_ahead
from mnad.measuring.exact_update import Finished, Lane, finish_frames
from mnad.measuring.map_recorder import ErrorRecorder, MapRecorder
from mnad.measuring.metrics import psnr
from mnad.measuring.network import (
    DISTANCE,
    LOCAL,
    MSE,
    NEAREST,
    UPDATE_ERROR,
    DecodedRows,
    Network,
    diverged,
    finite_rows,
)
from mnad.measuring.options import Precision, RuntimeName, UpdateScope
from mnad.measuring.pooling import LOCAL_POOLINGS
from mnad.measuring.usual import Usual
from mnad.models import Autoencoder
from mnad.runtime.choices import check_choice
from mnad.runtime.progress import FrameProgress
from mnad.runtime.provenance import device_name, source_commit
from mnad.runtime.version import __version__

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Choices(TypedDict, total=False):
    """What :func:`measure_by` takes beside the network and the clips."""

    update: UpdateScope
    update_threshold: float
    batch_size: int
    maps: MapRecorder | ErrorRecorder | None
    progress: bool


def measure(
    model: Autoencoder,
    clips: Clips,
    *,
    precision: Precision = "32-true",
    usual: Usual | None = None,
    runtime: RuntimeName = "torch",
    **choices: Unpack[Choices],
) -> Measurements:
    """Measures every frame that a model restores, as :func:`measure_by` does with one that is ready.

    Args:
        model: A trained network; it stays as it is, its items, too.
        clips: The frames.
        precision: Of the network; the memory computes in float32 all the same.
        usual: What is usual at each place, of this model; without it nothing is compared with that.
        runtime: What executes the network.
        **choices: See :func:`measure_by`.

    Raises:
        ConfigError: If the precision or the runtime is not known, or the runtime cannot be had.
        MnadError: As :func:`measure_by`.
    """
    return measure_by(Network(model, precision, usual, runtime=runtime, size=clips.frames.shape[1]), clips, **choices)


@torch.inference_mode()
def measure_by(
    network: Network,
    clips: Clips,
    *,
    update: UpdateScope = "carried-over",
    update_threshold: float = 0.01,
    batch_size: int = 8,
    maps: MapRecorder | ErrorRecorder | None = None,
    progress: bool = True,
) -> Measurements:
    """Measures every frame that the model restores.

    For prediction these are all but the first ``frames_in`` of each video. Videos that are too short for a single
    window have no such frame; a warning names them. Frames that could not be read are left out, and those that follow
    them too closely to be restored.

    Args:
        network: The model, ready.
        clips: The frames.
        update: See :class:`mnad.measuring.options.UpdateOptions`; a model without memory has none.
        update_threshold: E_t below which a frame updates the items.
        batch_size: Frames at a time; it changes no score, see :mod:`mnad.measuring.exact_update`.
        maps: Gathers the maps of the frames, too.
        progress: Whether to show a progress bar.

    Returns:
        Raw measurements, with how they were made.

    Raises:
        ConfigError: If the update is not known.
        CheckpointError: If the model does not give finite frames.
        DataError: If no video is long enough for a single window.
    """
    began = time.perf_counter()
    check_choice("update", update, UpdateScope)
    update = "none" if network.memory is None else update
    windows = Windows(clips, network.config.frames_in, network.config.target)
    owner = _owners(clips, windows)
    metrics = np.full((len(windows), NEAREST + (network.memory.num_items if network.memory else 0)), np.nan)
    updated = np.zeros(len(windows), np.bool_)
    decoded = 0
    if maps is not None:
        maps.begin(len(windows))
    with FrameProgress("scoring frames", len(windows), enabled=progress) as bar:
        for indices, found in _finished(network, windows, owner, update, update_threshold, batch_size):
            decoded += len(found.restored.metrics)
            metrics[indices] = found.restored.metrics[: len(indices)]
            updated[indices] = found.updated
            _check_finite(metrics, indices, clips, windows, owner)
            if maps is not None:
                _add_maps(maps, indices, found)
            bar.advance(len(indices))
    seconds = time.perf_counter() - began
    return Measurements(
        videos=clips.names,
        video=owner,
        frame=windows.targets - clips.starts[owner],
        mse=metrics[:, MSE],
        psnr=psnr(metrics[:, MSE]),
        distance=metrics[:, DISTANCE],
        **{name: metrics[:, columns] for name, columns in LOCAL.items()},
        update_error=metrics[:, UPDATE_ERROR],
        updated=updated,
        nearest=metrics[:, NEAREST:].astype(np.int32),
        poolings=LOCAL_POOLINGS,
        labels=None if clips.labels is None else clips.labels[windows.targets],
        protocol={
            "task": network.config.task,
            "memory": network.memory is not None,
            "model": asdict(network.config),
            "weights": network.weights,
            "usual": None if network.usual is None else network.usual.identity,
            "labels": clips.label_source,
            **_update_choices(update, update_threshold, metrics[:, UPDATE_ERROR]),
            "precision": network.precision,
            "runtime": network.runtime,
            "batch_size": batch_size,
            "decodings_per_frame": round(decoded / len(windows), 4),
            "device": device_name(network.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "seconds": round(seconds, 3),
            "frames_per_second": round(len(windows) / seconds, 2),
            "version": __version__,
            "commit": source_commit(),
        },
    )


def _owners(clips: Clips, windows: Windows) -> NDArray[np.int64]:
    """Returns the video of each window, and warns of videos that have none."""
    lengths = np.diff(clips.starts)
    short = [f"{name} ({n} frames)" for name, n in zip(clips.names, lengths, strict=True) if n < windows.length]
    if short:
        warnings.warn(
            f"no frame can be scored of videos with fewer than {windows.length} frames: {', '.join(short)}",
            stacklevel=3,
        )
    return np.repeat(np.arange(len(clips.names)), lengths)[windows.targets]


def _finished(
    network: Network,
    windows: Windows,
    owner: NDArray[np.int64],
    update: UpdateScope,
    threshold: float,
    batch_size: int,
) -> Iterator[tuple[range, Finished[DecodedRows]]]:
    """Yields the windows that are finished, and what they give, until all are."""
    if update == "carried-over":  # all videos are one to it
        blocks = plan_blocks(np.zeros_like(owner), np.arange(len(owner)), batch_size)
    else:
        blocks = plan_blocks(owner, windows.firsts - windows.clips.starts[owner], batch_size)
    items = network.memory.items if network.memory is not None else None
    lane, video = None, -1
    for indices, pixels in read_ahead(windows, blocks, pinned=network.device.type == "cuda"):
        block, count = network.encode(pixels), len(indices)
        if update == "none" or items is None:
            yield indices, Finished(block.restore(range(count), items), range(count), [False] * count)
            continue
        if lane is None or (update == "per-video" and owner[indices[0]] != video):
            lane, video = Lane(items, most_credit=2 * batch_size), owner[indices[0]]
        for found in finish_frames(block, lane, count, threshold):
            yield indices[found.rows.start : found.rows.stop], found


def _check_finite(
    metrics: NDArray[np.float64], indices: Sequence[int], clips: Clips, windows: Windows, owner: NDArray[np.int64]
) -> None:
    broken = ~finite_rows(metrics[indices])
    if broken.any():
        index = min(np.asarray(indices)[broken])
        video = owner[index]
        frame = windows.targets[index] - clips.starts[video]
        raise diverged(f"frame {frame} of video {clips.names[video]}")


def _add_maps(maps: MapRecorder | ErrorRecorder, indices: Sequence[int], found: Finished[DecodedRows]) -> None:
    restored, chosen = found.restored, slice(len(indices))
    maps.add(
        indices,
        restored.error_map[chosen],
        None if restored.distance_map is None else restored.distance_map[chosen],
        restored.pixels[chosen],
        restored.frames[chosen],
    )


def _update_choices(update: UpdateScope, threshold: float, update_errors: NDArray[np.float64]) -> dict[str, Any]:
    """Returns the update's options, and the E_t closest to the threshold, where rounding could decide otherwise."""
    if update == "none":
        return {"update": update, "update_threshold": None, "closest_update_error": None}
    closest = update_errors[np.abs(update_errors - threshold).argmin()]
    return {"update": update, "update_threshold": threshold, "closest_update_error": float(closest)}
