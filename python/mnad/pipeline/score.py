"""From a checkpoint and data to a file of measurements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnad.artifacts.checkpoint import Checkpoint, load_checkpoint
from mnad.artifacts.maps import check_maps, maps_beside, save_maps
from mnad.artifacts.measurements import Measurements, measurements_name, save_measurements
from mnad.data.options import DataOptions
from mnad.data.splits import SplitName
from mnad.measuring.map_recorder import MapRecorder
from mnad.measuring.measurement import measure
from mnad.measuring.options import InferenceOptions, UpdateOptions
from mnad.measuring.runtimes import device_for
from mnad.measuring.usual import Usual
from mnad.models.presets import RECIPES
from mnad.pipeline.model_clips import open_as_trained
from mnad.runtime.errors import ConfigError, DataError
from mnad.runtime.progress import log_to, print_line


@dataclass(frozen=True)
class ScoreConfig(UpdateOptions, InferenceOptions, DataOptions):
    """Options of scoring.

    Attributes:
        run: A run's folder, a checkpoint file, a folder of exported weights, or the name of weights that are installed.
        data: A data set in any known layout, a clip store, or a video.
        split: testing, or training for the measurements of normal frames that scores may be normalised by.
        out: Where the measurements go; measurements.npz in the run's folder if left out, measurements-training.npz for
            the training split.
        labels: A label set of the data by its name, such as hasan or official for Avenue, or a label file; the data's
            own if left out.
        batch_size: Frames at a time; it changes no score, with the test-time update neither.
        maps: Whether to store maps of each frame, too, beside the measurements: where its error is, where its queries
            lie far from the items, and the pictures. They take up to 110 kB of memory a frame, and less in the file.
    """

    run: Path
    data: Path
    split: SplitName = "testing"
    out: Path | None = None
    labels: str | None = None
    batch_size: int = 8
    maps: bool = False

    @property
    def destination(self) -> Path:
        """The file of measurements."""
        folder = self.run.parent if self.run.is_file() else self.run
        return self.out or folder / measurements_name(self.split)

    def __post_init__(self) -> None:
        """Checks the ranges."""
        super().__post_init__()
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")


def score(config: ScoreConfig) -> Path:
    """Measures every frame of a split and stores the measurements, with a log beside them.

    Returns:
        The file.

    Raises:
        CheckpointError: If there is no usable checkpoint, or its model has diverged.
        DataError: If the data are not as they should be.
        OutputError: If the result cannot be written.
    """
    checkpoint = load_checkpoint(config.run)
    with log_to(config.destination.with_suffix(".log")):
        return _score(config, checkpoint)


def _score(config: ScoreConfig, checkpoint: Checkpoint) -> Path:
    out = config.destination
    model = checkpoint.build_model()
    model.to(device_for(config.accelerator, config.runtime))
    clips = open_as_trained(checkpoint, config.data, config.split, config, labels=config.labels)
    usual = RECIPES[model.config.task].update_threshold
    maps = MapRecorder() if config.maps else None
    measurements = measure(
        model,
        clips,
        update=config.update,
        update_threshold=usual if config.update_threshold is None else config.update_threshold,
        batch_size=config.batch_size,
        precision=config.precision,
        runtime=config.runtime,
        usual=Usual.of(checkpoint, config.run),
        maps=maps,
    )
    measurements.protocol.update(
        preset=checkpoint.training["preset"],
        epoch=checkpoint.epoch,
        step=checkpoint.step,
        checkpoint=str(config.run),
        data=str(config.data),
        split=config.split,
        size=checkpoint.training["size"],
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
            check_maps(beside, measurements)
        except DataError as error:
            print_line(f"the maps stay, but do not belong to these measurements: {error}")
    save_measurements(out, measurements)


def protocol_lines(measurements: Measurements) -> list[str]:
    """Returns two lines: the choices by which frames were measured, and the speed."""
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
        f"{protocol['device']}, {protocol['runtime']}, {protocol['precision']}, batches of "
        f"{protocol['batch_size']}, decoded {protocol['decodings_per_frame']:.2f} times each",
    ]
