"""What the nodes of a run share: the run's folder and the clip store, which one process alone makes."""

from __future__ import annotations

import uuid

from mnad.artifacts.run_folder import check_run_folder
from mnad.data import Clips, Store, open_store
from mnad.data.cache import check_data, find_store
from mnad.data.store import is_store
from mnad.runtime.errors import DataError, OutputError
from mnad.runtime.files import appears, cache_folder, output_errors, writable_folder
from mnad.training.config import TrainConfig
from mnad.training.ranks import Ranks


def check_places(config: TrainConfig, ranks: Ranks) -> None:
    """Makes sure that the data can be used and that all nodes see one folder of the run, which is made.

    Raises:
        ConfigError: If another run is in the folder.
        DataError: If the data are not as they should be.
        OutputError: If the folder cannot be written, or a node does not see it.
    """

    def begin() -> str:
        check_data(config.data, "training", config.layout)  # a fault of the data shows before a folder is made
        if not config.resume:
            check_run_folder(config.out, overwrite=config.overwrite)
        writable_folder(config.out)
        name = f".{uuid.uuid4().hex}.shared"
        if ranks.count > 1:
            with output_errors(config.out):
                (config.out / name).touch()
        return name

    def see() -> None:
        if not appears(config.out / name):
            raise OutputError(
                f"{ranks.node} does not see the run's folder: what was written into it elsewhere is not in "
                f"{config.out}; give --out a folder that all nodes share"
            )

    name = ranks.by_first(begin)
    if ranks.count > 1:
        try:
            ranks.by_all(see)
        finally:
            if ranks.first:
                (config.out / name).unlink(missing_ok=True)


def shared_clips(config: TrainConfig, ranks: Ranks) -> Clips:
    """Maps the training frames; the first process makes their clip store if need be, while the others wait.

    Raises:
        DataError: If the data are not as they should be, or a node does not see that very store.
        ConfigError: If the data cannot serve the size, the channels or the levels.
    """

    def make() -> Store:
        return find_store(
            config.data,
            "training",
            config.size,
            image_channels=config.image_channels,
            layout=config.layout,
            levels=config.levels or "choose",
            cache=config.cache,
        )

    def map_frames() -> Clips:
        return (made if ranks.first else _same_store(config, made, ranks.node)).clips("training")

    made = ranks.by_first(make)
    return ranks.by_all(map_frames)


def _same_store(config: TrainConfig, made: Store, node: str) -> Store:
    path = config.data if is_store(config.data) else (config.cache or cache_folder()) / made.path.name
    if not appears(path):
        raise DataError(
            f"{node} does not see the clip store that the run is to be trained on: there is no {path}; give --cache a "
            "folder that all nodes share, or name by --data a clip store that each of them sees"
        )
    store = open_store(path)
    if _frames_of(store) != _frames_of(made):
        raise DataError(
            f"{node} sees other frames at {path}, {_counted(store)}, than the first process at {made.path}, "
            f"{_counted(made)}; give --data and --cache that name the same on all nodes"
        )
    return store


def _frames_of(store: Store) -> tuple[object, ...]:
    """Returns what tells the training frames of a store from others: checksums of all videos are in it."""
    split = store.splits.get("training")
    return split and split.videos, store.size, store.channels, store.levels


def _counted(store: Store) -> str:
    split = store.splits.get("training")
    return f"{split.frames if split else 0} of size {store.size} made of {store.source}"
