"""Scoring: what a trained model makes of each test frame, with the published test-time update.

Per frame: the error of the restored frame, D, the distance of its queries from their items, and E_t, which decides
whether the frame may update the items. Abnormality scores are made of these later, in :mod:`mnad.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnad import __version__
from mnad.checkpoint import load_checkpoint
from mnad.data import Clips, Windows, open_clips, to_frames
from mnad.data.layouts import LayoutName
from mnad.errors import ConfigError
from mnad.measurements import Measurements, save_measurements
from mnad.models import Autoencoder
from mnad.models.presets import RECIPES
from mnad.progress import track

UpdateScope = Literal["carried-over", "per-video", "none"]
# The error of a frame of which a single colour value of 256 x 256 x 3 is off by one step of 255.
SMALLEST_MSE = 1 / (256 * 256 * 3 * 255**2)


@dataclass(frozen=True)
class ScoreConfig:
    """Options of scoring.

    Attributes:
        run: A run's folder, or a checkpoint file.
        data: A data set in any known layout, or a clip store.
        out: Where the measurements go; measurements.npz in the run's folder if left out.
        labels: A label set of the data by its name, such as hasan or official for Avenue, or a label file; the data's
            own if left out.
        update: Test-time update of the items: carried-over from video to video (published), per-video (items start
            anew in each video), or none.
        threshold: E_t below which a frame updates the items; the published value of the task if left out.
        batch_size: Frames at a time where there is no update; it changes no score. With the update frames go one by
            one, as each may change the items that the next one reads.
        accelerator: cpu, cuda, or auto for what there is.
        layout: How the data are laid out; found by looking if left out.
        cache: Where clip stores are kept; the variable MNAD_CACHE, or ~/.cache/mnad, if left out.
    """

    run: Path
    data: Path
    out: Path | None = None
    labels: str | None = None
    update: UpdateScope = "carried-over"
    threshold: float | None = None
    batch_size: int = 8
    accelerator: str = "auto"
    layout: LayoutName | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.threshold is not None and self.threshold < 0:
            raise ConfigError(f"threshold must not be negative, got {self.threshold}")


def score(config: ScoreConfig) -> Path:
    """Measures every test frame and stores the measurements.

    Returns:
        The file.

    Raises:
        CheckpointError: If there is no usable checkpoint.
        DataError: If the data are not as they should be.
        OutputError: If the result cannot be written.
    """
    checkpoint = load_checkpoint(config.run)
    folder = config.run if config.run.is_dir() else config.run.parent
    out = config.out or folder / "measurements.npz"
    model = checkpoint.build_model()
    model.to(device=_device(config.accelerator), memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = checkpoint.training["size"]
    clips = open_clips(
        config.data,
        "testing",
        size,
        image_channels=model.config.image_channels,
        layout=config.layout,
        labels=config.labels,
        cache=config.cache,
    )
    threshold = RECIPES[model.config.task].update_threshold if config.threshold is None else config.threshold
    update = config.update if model.memory is not None else "none"
    measurements = measure(model, clips, update=update, threshold=threshold, batch_size=config.batch_size)
    measurements.protocol.update(
        preset=checkpoint.training["preset"],
        epoch=checkpoint.epoch,
        step=checkpoint.step,
        checkpoint=str(config.run),
        data=str(config.data),
        size=size,
    )
    save_measurements(out, measurements)
    return out


@torch.inference_mode()
def measure(
    model: Autoencoder,
    clips: Clips,
    *,
    update: UpdateScope = "carried-over",
    threshold: float = 0.01,
    batch_size: int = 8,
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
        progress: Whether to show a progress bar.

    Returns:
        Raw measurements, with how they were made.
    """
    model.eval()
    windows = Windows(clips, model.config.frames_in, model.config.target)
    owner = np.repeat(np.arange(len(clips.names)), np.diff(clips.starts))[windows.targets]
    rows: list[NDArray[np.float64]] = []
    nearest: list[NDArray[np.int32]] = []
    first_items = model.memory.items if model.memory is not None else None
    batches = _batches(owner, 1 if update != "none" else batch_size)
    for indices in track(batches, "scoring frames", len(batches), enabled=progress):
        begins = indices[0] == 0 or owner[indices[0]] != owner[indices[0] - 1]
        if update == "per-video" and begins and model.memory is not None and first_items is not None:
            model.memory.items = first_items
        figures, usage = _measure_batch(model, windows.__getitems__(indices.tolist()), update, threshold)
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


def psnr(mse: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gives P = 10 log10(1 / mse) in dB for errors on the scale [0, 1].

    A perfect frame would be infinitely good and spoil every normalisation over its video, so an error counts as no
    less than that of one colour value off by one step in a 256 x 256 frame (101 dB).

    Example:
        >>> import numpy as np
        >>> psnr(np.array([1.0, 0.01, 0.0])).round(2).tolist()
        [0.0, 20.0, 101.07]
    """
    return 10 * np.log10(1 / np.maximum(mse, SMALLEST_MSE))


def update_errors(squared_errors: Tensor) -> Tensor:
    """Gives E_t of each frame: its squared errors, weighted by 1 - exp(-error) so that large ones count more.

    Args:
        squared_errors: (B, C_img, H, W), squared errors e on the scale [0, 1].

    Returns:
        (B,), sum(n e) / sum(n) over the frame with n = 1 - exp(-e); 0 for a perfect frame.
    """
    weights = -torch.expm1(-squared_errors)
    total = weights.flatten(1).sum(1)
    weighted = (weights * squared_errors).flatten(1).sum(1)
    return torch.where(total > 0, weighted / total.clamp_min(1e-30), 0)


def _measure_batch(
    model: Autoencoder, windows: Tensor, update: UpdateScope, threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Gives four rows, mse, distance, update error, whether the items were updated; and how the items were used."""
    device = next(model.parameters()).device
    frames = to_frames(windows.to(device), model.config.image_channels)
    shown = frames[:, : model.config.frames_in].flatten(1, 2)
    restored = model(shown.contiguous(memory_format=torch.channels_last))
    errors = ((restored.frames - frames[:, -1]) / 2).square()
    update_error = update_errors(errors)
    updated = torch.zeros_like(update_error)
    distance = torch.full_like(update_error, torch.nan)
    usage = torch.zeros(len(frames), 0, dtype=torch.int64)
    if restored.memory is not None and model.memory is not None:
        distance = restored.memory.compactness
        M = model.memory.num_items
        usage = torch.stack([torch.bincount(one.flatten(), minlength=M) for one in restored.memory.nearest])
        if update != "none" and bool(update_error < threshold):
            model.memory.update(restored.features)
            updated += 1
    columns = torch.stack([errors.mean(dim=(1, 2, 3)), distance, update_error, updated])
    return columns.double().cpu().numpy(), usage.to("cpu", torch.int32).numpy()


def _batches(owner: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    indices = np.arange(len(owner))
    return [indices[first : first + size] for first in range(0, len(owner), size)]


def _device(accelerator: str) -> torch.device:
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(accelerator)
