"""From a checkpoint and data to a file of measurements."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mnad.checkpoint import load_checkpoint
from mnad.data import open_clips
from mnad.devices import choose_device
from mnad.errors import DataError
from mnad.maps import load_maps, maps_beside, save_maps
from mnad.measurements import Measurements, save_measurements
from mnad.models.presets import RECIPES
from mnad.progress import log_to, print_line
from mnad.scoring.config import ScoreConfig
from mnad.scoring.mapping import MapRecorder
from mnad.scoring.measuring import measure


def score(config: ScoreConfig) -> Path:
    """Measures every frame of a split and stores the measurements, with a log beside them.

    Returns:
        The file.

    Raises:
        CheckpointError: If there is no usable checkpoint, or its model has diverged.
        DataError: If the data are not as they should be.
        OutputError: If the result cannot be written.
    """
    with log_to(config.destination.with_suffix(".log")):
        return _score(config)


def _score(config: ScoreConfig) -> Path:
    checkpoint = load_checkpoint(config.run)
    out = config.destination
    model = checkpoint.build_model()
    model.to(choose_device(config.accelerator))
    size = checkpoint.training["size"]
    clips = open_clips(
        config.data,
        config.split,
        size,
        image_channels=model.config.image_channels,
        layout=config.layout,
        labels=config.labels,
        levels=checkpoint.training.get("levels"),
        cache=config.cache,
    )
    usual = RECIPES[model.config.task].update_threshold
    maps = MapRecorder() if config.maps else None
    measurements = measure(
        model,
        clips,
        update=config.update,
        update_threshold=usual if config.update_threshold is None else config.update_threshold,
        batch_size=config.batch_size,
        precision=config.precision,
        maps=maps,
    )
    measurements.protocol.update(
        preset=checkpoint.training["preset"],
        epoch=checkpoint.epoch,
        step=checkpoint.step,
        checkpoint=str(config.run),
        data=str(config.data),
        split=config.split,
        size=size,
        levels=clips.levels,
        rates=clips.rates,
    )
    _store(out, measurements, maps)
    for line in protocol_lines(measurements):
        print_line(line)
    return out


def _store(out: Path, measurements: Measurements, maps: MapRecorder | None) -> None:
    """Writes both files; maps of earlier measurements stay and are known not to be of these."""
    beside = maps_beside(out)
    if maps is not None:
        save_maps(beside, maps.maps(), measurements)
    elif beside.exists():
        try:
            load_maps(beside, measurements)
        except DataError as error:
            print_line(f"the maps stay, but do not belong to these measurements: {error}")
    save_measurements(out, measurements)


def protocol_lines(measurements: Measurements) -> list[str]:
    """Says in two lines by which choices frames were measured, and how fast."""
    protocol, count = measurements.protocol, f"{len(measurements):,}"
    update = "no test-time update"
    if protocol["update"] != "none":
        update = (
            f"test-time update {protocol['update']} where E_t < {protocol['update_threshold']}: "
            f"{np.count_nonzero(measurements.updated):,} of {count} frames"
        )
    return [
        f"{protocol['preset']}, width {protocol['model']['width']}, size {protocol['size']}, epoch "
        f"{protocol['epoch']}; {protocol['split']} split; {update}",
        f"{count} frames in {protocol['seconds']:.1f} s, {protocol['frames_per_second']:g} frames/s on "
        f"{protocol['device']}, {protocol['precision']}, batches of {protocol['batch_size']}, decoded "
        f"{protocol['decodings_per_frame']:.2f} times each",
    ]
