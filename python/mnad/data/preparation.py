"""Making a clip store of a data set, in a folder beside it that becomes the store when all is done."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from mnad.data.layouts import LayoutName, find_layout
from mnad.data.parts import Part, PartMaker, SplitFolders, assemble, is_grey, make_parts
from mnad.data.sources import ImageFiles
from mnad.data.splits import SPLITS, Split, SplitName, Video
from mnad.data.store import (
    FRAMES,
    MANIFEST,
    MASKS,
    Store,
    StoredLabels,
    StoredSplit,
    checksum,
    is_store,
    manifest,
    open_store,
)
from mnad.errors import ConfigError, DataError, Interrupted, OutputError
from mnad.files import alone, atomic_write, output_errors, writable_folder

Channels = Literal["auto", 1, 3]

STORE = "store"  # in the folder of the unfinished store: what becomes the store, by one renaming


@dataclass(frozen=True)
class PrepareConfig:
    """Options of making a clip store.

    Attributes:
        data: The data set's folder, in any known layout.
        out: The store's folder; NAME-SIZE.store here if left out. What is there already is not overwritten.
        size: Height and width to resize to, bilinearly; a multiple of 8.
        channels: 3 (colour), 1 (grey), or auto: 1 where all channels are equal, which is how grey video is passed on.
        layout: How the data are laid out; found by looking if left out.
        strict: Whether a video that ends before its header says so is an error, not a warning.
        workers: Videos that are decoded at a time; as many as there are processors if left out.
    """

    data: Path
    out: Path | None = None
    size: int = 256
    channels: Channels = "auto"
    layout: LayoutName | None = None
    strict: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.size < 8 or self.size % 8:
            raise ConfigError(f"size must be a multiple of 8, as three poolings halve it, got {self.size}")
        if self.channels not in ("auto", 1, 3):
            raise ConfigError(f"channels must be 3 (colour), 1 (grey) or auto, got {self.channels}")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers must be at least 1, got {self.workers}")

    @property
    def store(self) -> Path:
        """The store's folder."""
        return self.out or Path(f"{self.data.resolve().name}-{self.size}.store")


@dataclass(frozen=True)
class Plan:
    """What a store is to hold; a store that was begun by another plan is begun anew."""

    source: str
    layout: str
    size: int
    channels: int
    opencv: str
    fingerprint: str


def prepare(config: PrepareConfig, splits: Sequence[SplitName] = SPLITS, *, progress: bool = True) -> Store:
    """Makes a clip store, or goes on with one that was begun.

    Everything that can be checked without decoding is checked before the first frame is decoded.

    Args:
        config: The options.
        splits: The splits that are wanted; those that the data have are taken.
        progress: Whether to show a progress bar.

    Raises:
        DataError: If the data are not as they should be.
        OutputError: If the store cannot be written, or there is something else in its place.
        Interrupted: If it was stopped; the same call goes on.
    """
    layout_name, found = find_splits(config.data, splits, config.layout)
    fingerprint = fingerprint_of(found)
    if not is_store(config.store) and config.store.exists() and any(config.store.iterdir()):
        raise OutputError(f"{config.store} exists already and is no clip store; name another folder")
    with alone(config.store):
        if is_store(config.store):
            shutil.rmtree(_partial(config.store), ignore_errors=True)  # a run that was killed at its end left it
            return _existing(config, fingerprint)
        channels = _probe_channels(found) if config.channels == "auto" else config.channels
        plan = Plan(str(config.data), layout_name, config.size, channels, cv2.__version__, fingerprint)
        try:
            with output_errors(config.store):
                return _make(config, plan, found, progress=progress)
        except KeyboardInterrupt:
            raise Interrupted(f"stopped; the same command goes on where it was ({_partial(config.store)})") from None


def find_splits(
    root: Path, splits: Sequence[SplitName], layout: LayoutName | None = None
) -> tuple[LayoutName, list[Split]]:
    """Finds the splits that a data set has and checks them without decoding.

    Raises:
        DataError: If there are none, or there is something wrong with them.
    """
    if is_store(root):
        raise DataError(f"{root} is a clip store already; name the data set that it was made of")
    known = find_layout(root, layout)
    read = [known.read(root, name) for name in splits]
    found = [split for split in read if split.videos]
    if not found:
        raise DataError(f"{root} has no {' or '.join(splits)} videos. Layout {known.name} is {known.looks_like}")
    for split in found:
        split.check()
    return known.name, found


def fingerprint_of(splits: Sequence[Split]) -> str:
    """Gives a hash of names, sizes and times of all files that make up some splits."""
    digest = hashlib.sha256()
    for split in splits:
        files = [path for video in split.videos for path in video.frames.files]
        files += [path for video in split.videos if video.masks is not None for path in video.masks.files]
        files += [Path(labels.source) for labels in split.label_sets if Path(labels.source).is_file()]
        for path in files:
            status = path.stat()
            digest.update(f"{split.name} {path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _make(config: PrepareConfig, plan: Plan, splits: Sequence[Split], *, progress: bool) -> Store:
    partial = _begin(_partial(config.store), plan)
    maker = PartMaker(plan.size, plan.channels, check_grey=config.channels == "auto" and plan.channels == 1)
    stored: dict[SplitName, StoredSplit] = {}
    faults: list[str] = []
    for split in splits:
        folders = SplitFolders(partial / STORE / split.name, partial / "parts" / split.name)
        parts = make_parts(split, folders, maker, workers=config.workers, strict=config.strict, progress=progress)
        faults += [fault for part in parts for fault in part.warnings]
        stored[split.name] = _store_split(split, folders, parts, maker)
    store = Store(config.store, **vars(plan), warnings=tuple(faults), splits=stored)
    with atomic_write(partial / STORE / MANIFEST) as temporary:
        temporary.write_text(manifest(store))
    if config.store.exists():
        config.store.rmdir()
    (partial / STORE).replace(config.store)
    shutil.rmtree(partial)
    return store


def _store_split(split: Split, folders: SplitFolders, parts: Sequence[Part], maker: PartMaker) -> StoredSplit:
    videos = tuple(part.video for part in parts)
    counts = [video.frames for video in videos]
    labels = []
    for index, labels_found in enumerate(split.label_sets):
        values = labels_found.fit([video.name for video in videos], counts)
        file = f"labels-{index}.npy"
        with atomic_write(folders.arrays / file) as temporary, temporary.open("wb") as opened:
            np.save(opened, values)
        entry = StoredLabels(labels_found.name, labels_found.source, file, checksum(values), int(values.sum()))
        labels.append(entry)
    assemble(folders, counts, FRAMES, maker.frame_shape)
    if any(video.masks_sha256 for video in videos):
        assemble(folders, counts, MASKS, maker.mask_shape)
    return StoredSplit(videos, tuple(labels), labels[0].name if labels and split.clear_default else None)


def _begin(partial: Path, plan: Plan) -> Path:
    """Makes the folder of the unfinished store, or takes what an earlier run by the same plan has left."""
    content: dict[str, Any] = vars(plan)
    plan_file = partial / "plan.json"
    try:
        same = json.loads(plan_file.read_text()) == content and (partial / STORE).is_dir()
    except (OSError, ValueError):
        same = False
    if not same:
        plan_file.unlink(missing_ok=True)  # first: a plan without all that was made by it must not be gone on with
        shutil.rmtree(partial, ignore_errors=True)
        writable_folder(partial / STORE)
        with atomic_write(plan_file) as temporary:
            temporary.write_text(json.dumps(content))
    return partial


def _existing(config: PrepareConfig, fingerprint: str) -> Store:
    store = open_store(config.store)
    wanted = config.channels if config.channels != "auto" else store.channels
    if (store.fingerprint, store.size, store.channels) != (fingerprint, config.size, wanted):
        raise OutputError(
            f"{config.store} is a store of {store.source} at size {store.size} with {store.channels} channels, made of "
            "other files or by other options; remove it or name another folder"
        )
    return store


def _probe_channels(splits: Sequence[Split]) -> int:
    """Looks at frames at the beginning of each video, and of images at the middle and the end, too."""
    videos = [video for split in splits for video in split.videos]
    return 1 if all(is_grey(frame) for video in videos for frame in _probes(video)) else 3


def _probes(video: Video) -> Iterator[Any]:
    source = video.frames
    if isinstance(source, ImageFiles):
        files = source.files
        source = ImageFiles(tuple({0: files[0], 1: files[len(files) // 2], 2: files[-1]}.values()))
    return islice(source.read(3), 3)


def _partial(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")
