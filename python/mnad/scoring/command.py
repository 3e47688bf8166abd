"""From a checkpoint and data to a file of measurements."""

from __future__ import annotations

from pathlib import Path

import torch

from mnad.checkpoint import load_checkpoint
from mnad.data import open_clips
from mnad.maps import maps_beside, save_maps
from mnad.measurements import save_measurements
from mnad.models.presets import RECIPES
from mnad.scoring.config import ScoreConfig
from mnad.scoring.mapping import MapRecorder
from mnad.scoring.measuring import measure


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
    maps = MapRecorder() if config.maps else None
    measurements = measure(model, clips, update=update, threshold=threshold, batch_size=config.batch_size, maps=maps)
    measurements.protocol.update(
        preset=checkpoint.training["preset"],
        epoch=checkpoint.epoch,
        step=checkpoint.step,
        checkpoint=str(config.run),
        data=str(config.data),
        size=size,
    )
    if maps is not None:
        save_maps(maps_beside(out), maps.maps())
    save_measurements(out, measurements)
    return out


def _device(accelerator: str) -> torch.device:
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(accelerator)
