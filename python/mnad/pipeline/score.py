"""From a checkpoint and data to a file of measurements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnad.artifacts.checkpoint import Checkpoint, load_checkpoint
from mnad.artifacts.maps import check_maps, maps_beside, save_maps
from mnad.artifacts.measurements import Measurements, measurements_name, save_measurements
from mnad.data import Clips
from mnad.data.options import DataOptions
from mnad.data.splits import SplitName
from mnad.measuring.map_recorder import ErrorRecorder, MapRecorder
from mnad.measuring.measurement import measure_by
from mnad.measuring.network import Network
from mnad.measuring.options import InferenceOptions, UpdateOptions
from mnad.measuring.runtimes import device_for
from mnad.measuring.usual import Usual
from mnad.models.presets import RECIPES
from mnad.pipeline.model_clips import open_as_trained
from mnad.runtime.engine import EngineOptions
from mnad.runtime.errors import ConfigError, DataError
from mnad.runtime.files import writable_folder
from mnad.runtime.places import Place, is_file
from mnad.runtime.progress import log_to, print_line, without_passwords


@dataclass(frozen=True)
class ScoreConfig(EngineOptions, UpdateOptions, InferenceOptions, DataOptions):
    """Options of scoring.

    Attributes:
        run: A run's folder, a checkpoint file, a folder of exported weights, or the name of weights that are installed.
        data: A data set in any known layout, a clip store, or a video; or the address of videos, as s3://bucket/gate.
        split: testing, or training for the measurements of normal frames that scores may be normalised by.
        out: Where the measurements go, a file or an address as s3://bucket/gate.npz; measurements.npz in the run's
            folder if left out, measurements-training.npz for the training split.
        labels: A label set of the data by its name, such as hasan or official for Avenue, or a label file; the data's
            own if left out.
        batch_size: Frames at a time; it changes no score, with the test-time update neither.
        maps: Whether to store maps of each frame, too, beside the measurements: where its error is, where its queries
            lie far from the items, and the pictures. They take up to 110 kB of memory a frame, and less in the file.
        merge: Whether engine ray joins the measurements of all videos in one file; an archive of thousands of hours has
            more than the memory of one machine holds.
    """

    run: Path
    data: Place
    split: SplitName = "testing"
    out: Place | None = None
    labels: str | None = None
    batch_size: int = 8
    maps: bool = False
    merge: bool = True

    @property
    def destination(self) -> Place:
        """The file of measurements."""
        folder = self.run.parent if self.run.is_file() else self.run
        return self.out or folder / measurements_name(self.split)

    def __post_init__(self) -> None:
        """Checks the ranges."""
        super().__post_init__()
        self.check_engine()
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.maps and self.engine == "ray":
            raise ConfigError("engine ray stores no maps; score the videos that are to be looked at by engine local")
        if not self.merge and self.engine == "local":
            raise ConfigError("no-merge is for engine ray: engine local writes one file")


@dataclass(frozen=True)
class Scorer:
    """A model made ready to measure clips as some options say.

    Attributes:
        config: The options.
        checkpoint: Of the model.
        network: The model on its device.
    """

    config: ScoreConfig
    checkpoint: Checkpoint
    network: Network

    @staticmethod
    def of(config: ScoreConfig, checkpoint: Checkpoint) -> Scorer:
        """Makes the model ready.

        Raises:
            CheckpointError: If it cannot be scored.
            ConfigError: If the options do not fit it, or the device.
        """
        model = checkpoint.build_model().to(device_for(config.accelerator, config.runtime))
        usual = Usual.of(checkpoint, config.run)
        size = checkpoint.training["size"]
        return Scorer(config, checkpoint, Network(model, config.precision, usual, runtime=config.runtime, size=size))

    def measure(
        self, clips: Clips, *, maps: MapRecorder | ErrorRecorder | None = None, progress: bool = True
    ) -> Measurements:
        """Measures clips, see :func:`mnad.measuring.measure_by`; the protocol says by which run, of which data."""
        config, checkpoint = self.config, self.checkpoint
        measurements = measure_by(
            self.network,
            clips,
            update=config.update,
            update_threshold=update_threshold(config, checkpoint),
            batch_size=config.batch_size,
            maps=maps,
            progress=progress,
        )
        measurements.protocol.update(
            preset=checkpoint.training["preset"],
            epoch=checkpoint.epoch,
            step=checkpoint.step,
            checkpoint=str(config.run),
            data=without_passwords(str(config.data)),
            split=config.split,
            size=checkpoint.training["size"],
            levels=clips.levels,
            rates=clips.rates,
        )
        return measurements


def update_threshold(config: UpdateOptions, checkpoint: Checkpoint) -> float:
    """Returns the E_t below which a frame updates the items: what was given, or the published value of the task."""
    usual = RECIPES[checkpoint.config.task].update_threshold
    return usual if config.update_threshold is None else config.update_threshold


def score(config: ScoreConfig) -> Place:
    """Measures every frame of a split and stores the measurements, with a log beside them.

    Returns:
        The file; by engine ray without ``merge`` the folder of the videos' files.

    Raises:
        CheckpointError: If there is no usable checkpoint, or its model has diverged.
        DataError: If the data are not as they should be; by engine ray if there is no video that could be scored.
        OutputError: If the result cannot be written.
    """
    if config.engine == "ray":
        from mnad.pipeline.score_videos import score_videos

        return score_videos(config).checked()
    checkpoint = load_checkpoint(config.run)
    if not isinstance(config.destination, Path):
        writable_folder(config.destination.parent)
    with log_to(config.destination.with_suffix(".log")):
        return _score(config, checkpoint)


def _score(config: ScoreConfig, checkpoint: Checkpoint) -> Place:
    out = config.destination
    scorer = Scorer.of(config, checkpoint)
    clips = open_as_trained(checkpoint, config.data, config.split, config, labels=config.labels)
    maps = MapRecorder() if config.maps else None
    measurements = scorer.measure(clips, maps=maps)
    _store(out, measurements, maps)
    for line in protocol_lines(measurements):
        print_line(line)
    return out


def _store(out: Place, measurements: Measurements, maps: MapRecorder | None) -> None:
    """Writes both files; maps of earlier measurements stay and are known not to be of these."""
    beside = maps_beside(out)
    if maps is not None:
        save_maps(beside, maps.maps(), measurements)
    elif is_file(beside):
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
