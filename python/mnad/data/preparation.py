"""Making a clip store of a data set, in a folder beside it that becomes the store when all is done."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from mnad.data.layouts import LAYOUTS, LayoutName, find_layout
from mnad.data.levels import Levels, out_of_levels, settle_levels
from mnad.data.looks import Look, levels_shown
from mnad.data.options import LayoutOption
from mnad.data.parts import (
    ColourFound,
    Makers,
    Part,
    PartMaker,
    SplitFolders,
    Threads,
    assemble,
    make_parts,
    tell_faults,
)
from mnad.data.splits import SPLITS, Split, SplitName
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
from mnad.runtime.engine import EngineOptions
from mnad.runtime.errors import ConfigError, DataError, Interrupted, OutputError
from mnad.runtime.files import alone, atomic_write, output_errors, writable_folder
from mnad.runtime.places import Place, name_of, version_of
from mnad.runtime.progress import print_line, without_passwords

Channels = Literal["auto", 1, 3]

PLAN = "plan.json"
STORE = "store"  # in the folder of the unfinished store: what becomes the store, by one renaming


@dataclass(frozen=True)
class PrepareConfig(EngineOptions, LayoutOption):
    """Options of making a clip store.

    Attributes:
        data: The data set's folder, in any known layout, or a video; or the address of videos.
        out: The store's folder; NAME-SIZE.store here if left out. What is there already is not overwritten.
        size: Height and width to resize to, bilinearly; a multiple of 8.
        channels: 3 (colour), 1 (grey), or auto: 1 where all channels are equal, which is how grey video is passed on.
        levels: Black and white of pixels of more than 8 bits, which are stored as bytes; chosen from the training
            frames if left out.
        strict: Whether missing frames and whatever else is warned of are an error.
        workers: Videos that are decoded at a time; as many as there are processors if left out.
    """

    data: Place
    out: Path | None = None
    size: int = 256
    channels: Channels = "auto"
    levels: tuple[float, float] | None = None
    strict: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        self.check_engine()
        if self.size < 8 or self.size % 8:
            raise ConfigError(f"size must be a multiple of 8, as three poolings halve it, got {self.size}")
        if self.channels not in ("auto", 1, 3):
            raise ConfigError(f"channels must be 3 (colour), 1 (grey) or auto, got {self.channels}")
        if self.levels is not None:
            Levels(*self.levels)
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers must be at least 1, got {self.workers}")
        if self.store.name in ("", ".."):
            raise ConfigError(f"out must name a folder that is made, got {self.out}")

    @property
    def store(self) -> Path:
        """The store's folder."""
        return self.out or Path(f"{name_of(self.data)}-{self.size}.store")


@dataclass(frozen=True)
class Found:
    """What was found in a data set without decoding.

    Attributes:
        layout: How it is laid out.
        splits: Those that were wanted and have videos.
        warnings: What is wrong with them and does not keep them from being used.
    """

    layout: LayoutName
    splits: list[Split]
    warnings: list[str]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the names of the videos, and of names, sizes and times of all files."""
        return fingerprint_and_size(self.splits)[0]


@dataclass(frozen=True)
class PreparationPlan:
    """What a store is to hold; a store that was begun by another plan is begun anew."""

    source: str
    layout: str
    size: int
    channels: int
    levels: tuple[float, float] | None
    decoders: str
    fingerprint: str


def prepare(
    config: PrepareConfig,
    splits: Sequence[SplitName] = SPLITS,
    *,
    found: Found | None = None,
    only_bytes: bool = False,
    makers: Makers | None = None,
    progress: bool = True,
) -> Store:
    """Makes a clip store, or goes on with one that was begun.

    Everything that can be checked without decoding is checked before the first frame is decoded.

    Args:
        config: The options.
        splits: The splits that are wanted; those that the data have are taken.
        found: What :func:`find_splits` has found of these splits; looked for if None.
        only_bytes: Whether a store is made of frames of 8 bits alone, as for a model that was trained on such.
        makers: What decodes; threads of this process if None.
        progress: Whether to show a progress bar.

    Raises:
        DataError: If the data are not as they should be.
        ConfigError: If levels are given for frames of 8 bits, or frames of more are found with ``only_bytes``.
        OutputError: If the store cannot be written, or there is something else in its place.
        Interrupted: If it was stopped; the same call goes on.
    """
    found = found or find_splits(config.data, splits, config.layout)
    if progress and (left := LAYOUTS[found.layout].passed_over(config.data, found.splits)):
        print_line(left)
    if config.store.exists() and not is_store(config.store) and not _is_empty_folder(config.store):
        raise OutputError(f"{config.store} exists already and is no clip store; name another folder")
    with alone(config.store):
        if is_store(config.store):
            shutil.rmtree(_partial(config.store), ignore_errors=True)  # a run that was killed at its end left it
            store = _existing(config, found.fingerprint)
            tell_faults(store.warnings, strict=config.strict)
            return store
        makers = makers or Threads(config.workers)
        auto = config.channels == "auto"
        looks = {split.name: makers.look(split.videos, grey=auto) for split in found.splits}
        levels = _settle_levels(config, found, looks, only_bytes=only_bytes)
        grey = all(look.grey for of_split in looks.values() for look in of_split)
        channels = config.channels if config.channels != "auto" else 1 if grey else 3
        decoders, source = _decoders(), without_passwords(str(config.data))
        plan = PreparationPlan(source, found.layout, config.size, channels, levels, decoders, found.fingerprint)
        try:
            with output_errors(config.store):
                return _prepare(config, plan, found, makers, progress=progress)
        except KeyboardInterrupt:
            raise Interrupted(f"stopped; the same command goes on where it was ({_partial(config.store)})") from None


def find_splits(root: Place, splits: Sequence[SplitName], layout: LayoutName | None = None) -> Found:
    """Finds the splits that a data set has and checks them without decoding.

    Raises:
        DataError: If there are none, or there is something wrong with them.
    """
    if is_store(root):
        raise DataError(f"{root} is a clip store already; name the data set that it was made of")
    name, found = unchecked_splits(root, splits, layout)
    return Found(name, found, [warning for split in found for warning in split.check()])


def unchecked_splits(
    root: Place, splits: Sequence[SplitName], layout: LayoutName | None = None
) -> tuple[LayoutName, list[Split]]:
    """Finds how a data set is laid out, and the splits that it has, whatever is wrong with them.

    Raises:
        DataError: If there are none.
    """
    known = find_layout(root, layout)
    found = known.splits(root, splits)
    if not found:
        raise DataError(f"{root} has no {' or '.join(splits)} videos. Layout {known.name} is {known.looks_like}")
    return known.name, found


def fingerprint_and_size(splits: Sequence[Split]) -> tuple[str, int]:
    """Returns a hash of the videos' names, and of names, sizes and times of all files of some splits; and their bytes.

    Of files at addresses the server's tag counts in place of the time.
    """
    digest, total = hashlib.sha256(), 0
    for split in splits:
        digest.update(f"{split.name} {[video.name for video in split.videos]}\n".encode())
        for path in split.files:
            size, changed = _version(path)
            total += size
            digest.update(f"{split.name} {path.name} {size} {changed}\n".encode())
    return digest.hexdigest(), total


def _version(path: Place) -> tuple[int, int | str]:
    """Returns the size of a file, and when it changed or the server's tag."""
    if not isinstance(path, Path):
        return version_of(path)
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _settle_levels(
    config: PrepareConfig, found: Found, looks: Mapping[SplitName, Sequence[Look]], *, only_bytes: bool
) -> tuple[float, float] | None:
    """Settles the levels of a store, and warns of splits of which they show little."""
    suggested: dict[str, tuple[float, float] | None] = {
        name: levels_shown(of_split) for name, of_split in looks.items()
    }
    if only_bytes and any(suggested.values()):
        raise ConfigError(
            f"{config.data} has frames of more than 8 bits a pixel, and the model was trained on frames of 8; convert "
            "them, or train a model on such frames"
        )
    levels = settle_levels(suggested, config.levels)
    if levels:
        found.warnings.extend(out_of_levels(levels, suggested))
    return levels


def _prepare(config: PrepareConfig, plan: PreparationPlan, found: Found, makers: Makers, *, progress: bool) -> Store:
    """Makes a store; of what looks grey one in colour, as soon as a frame is found that has some."""
    in_colour = replace(plan, channels=3)
    if config.channels == "auto" and _is_begun(_partial(config.store), in_colour):
        plan = in_colour
    tell_faults(found.warnings, strict=config.strict)
    try:
        return _make(config, plan, found, makers, progress=progress)
    except ColourFound as colour:
        if progress:
            print_line(f"{colour}, so that all are stored in colour")
        return _make(config, in_colour, found, makers, progress=progress)


def _make(config: PrepareConfig, plan: PreparationPlan, found: Found, makers: Makers, *, progress: bool) -> Store:
    partial = _begin(_partial(config.store), plan)
    maker = PartMaker(
        plan.size,
        plan.channels,
        check_grey=config.channels == "auto" and plan.channels == 1,
        levels=Levels(*plan.levels) if plan.levels else None,
    )
    stored: dict[SplitName, StoredSplit] = {}
    faults = list(found.warnings)
    for split in found.splits:
        # What one machine has begun in the array's own place, others do not go on with.
        folders = SplitFolders(partial / STORE / split.name, partial / f"parts{'-apart' * makers.apart}" / split.name)
        parts = make_parts(split, folders, maker, makers, strict=config.strict, progress=progress)
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
        source = without_passwords(labels_found.source)
        entry = StoredLabels(labels_found.name, source, file, checksum(values), int(values.sum()))
        labels.append(entry)
    assemble(folders, counts, FRAMES, maker.frame_shape)
    if any(video.masks_sha256 for video in videos):
        assemble(folders, counts, MASKS, maker.mask_shape)
    return StoredSplit(videos, tuple(labels), labels[0].name if labels and split.clear_default else None)


def _begin(partial: Path, plan: PreparationPlan) -> Path:
    """Makes the folder of the unfinished store, or takes what an earlier run by the same plan has left."""
    plan_file = partial / PLAN
    if not _is_begun(partial, plan):
        plan_file.unlink(missing_ok=True)  # first: a plan without all that was made by it must not be gone on with
        shutil.rmtree(partial, ignore_errors=True)
        writable_folder(partial / STORE)
        with atomic_write(plan_file) as temporary:
            temporary.write_text(_as_json(plan))
    return partial


def _is_begun(partial: Path, plan: PreparationPlan) -> bool:
    try:
        return (partial / PLAN).read_text() == _as_json(plan) and (partial / STORE).is_dir()
    except (OSError, ValueError):
        return False


def _as_json(plan: PreparationPlan) -> str:
    return json.dumps(vars(plan))


def _existing(config: PrepareConfig, fingerprint: str) -> Store:
    store = open_store(config.store)
    channels = config.channels if config.channels != "auto" else store.channels
    levels = store.levels if config.levels is None else tuple(config.levels)
    wanted = (fingerprint, config.size, channels, levels)
    if (store.fingerprint, store.size, store.channels, store.levels) != wanted:
        raise OutputError(
            f"{config.store} is a store of {store.source} at size {store.size} with {store.channels} channels and "
            f"levels {store.levels}, made of other files or by other options; remove it or name another folder"
        )
    return store


def _decoders() -> str:
    try:
        pyav = version("av")
    except PackageNotFoundError:
        pyav = "not installed"
    return f"OpenCV {cv2.__version__}, PyAV {pyav}"


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _partial(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")
