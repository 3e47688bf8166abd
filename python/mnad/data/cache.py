"""From whatever a user names to clips: a clip store as it is, a data set by way of a store in the cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mnad.data.clips import Clips
from mnad.data.layouts import LayoutName
from mnad.data.parts import tell_faults
from mnad.data.preparation import Channels, PrepareConfig, find_splits, prepare
from mnad.data.splits import SplitName
from mnad.data.store import FORMAT, Store, is_store, open_store
from mnad.runtime.errors import ConfigError
from mnad.runtime.files import cache_folder
from mnad.runtime.places import Place, absolute, name_of
from mnad.runtime.progress import print_line

# Counts up when the same files become other pixels, so that they are prepared anew.
PIXELS = 2
LevelsOption = tuple[float, float] | Literal["choose"] | None


def open_clips(
    data: Place,
    split: SplitName,
    size: int = 256,
    *,
    image_channels: int = 3,
    layout: LayoutName | None = None,
    labels: str | None = None,
    levels: Sequence[float] | Literal["choose"] | None = "choose",
    cache: Path | None = None,
    progress: bool = True,
) -> Clips:
    """Maps the frames of a split; a data set that is no store yet is made one, once, in the cache folder.

    Args:
        data: A clip store, a data set in any known layout, or a video; or the address of videos.
        split: ``"training"`` or ``"testing"``.
        size: Height and width of the frames; a store must have been made in it.
        image_channels: C_img of the network: 3 takes colour and grey, 1 grey only.
        layout: How the data set is laid out; found by looking if left out.
        labels: The name of a label set or a label file; the data set's own if left out.
        levels: Black and white of pixels of more than 8 bits, None for frames of 8 bits alone: those of a model's
            training, as it must be shown what it knows. Chosen from the training frames if left out.
        cache: Where stores are kept; the variable MNAD_CACHE, or ``~/.cache/mnad``, if left out.
        progress: Whether to say where the store is and to show a progress bar.

    Raises:
        DataError: If the data are not as they should be.
        ConfigError: If the store or the data cannot serve the size, the channels or the levels.
    """
    store = find_store(
        data, split, size, image_channels=image_channels, layout=layout, levels=levels, cache=cache, progress=progress
    )
    clips = store.clips(split, labels)
    if progress and split == "testing":
        print_line(f"labels: {clips.label_source}")
    return clips


def find_store(
    data: Place,
    split: SplitName,
    size: int = 256,
    *,
    image_channels: int = 3,
    layout: LayoutName | None = None,
    levels: Sequence[float] | Literal["choose"] | None = "choose",
    cache: Path | None = None,
    progress: bool = True,
) -> Store:
    """Returns the clip store whose frames :func:`open_clips` maps, and makes it if need be; the arguments are the same.

    Raises:
        DataError: If the data are not as they should be.
        ConfigError: If the store or the data cannot serve the size, the channels or the levels.
    """
    if image_channels not in (1, 3):
        raise ConfigError(f"image_channels must be 3 (colour) or 1 (grey), got {image_channels}")
    wanted: LevelsOption = tuple(levels) if levels and levels != "choose" else levels  # type: ignore[assignment]
    if is_store(data):
        store = open_store(data)
        _check(store, data, size, image_channels)
        tell_faults(store.warnings, strict=False)
    else:
        store = _cached(data, split, size, image_channels, layout, wanted, cache, progress=progress)
    _check_levels(store, wanted)
    return store


def check_data(data: Place, split: SplitName, layout: LayoutName | None = None) -> None:
    """Makes sure that data can be used, as far as that can be seen without decoding.

    Raises:
        DataError: If they cannot.
    """
    if is_store(data):
        open_store(data).clips(split)
    else:
        find_splits(data, [split], layout)


def _cached(
    data: Place,
    split: SplitName,
    size: int,
    image_channels: int,
    layout: LayoutName | None,
    levels: LevelsOption,
    cache: Path | None,
    *,
    progress: bool,
) -> Store:
    found = find_splits(data, [split], layout)
    given = None if levels == "choose" else levels
    key = f"{FORMAT} {PIXELS} {found.layout} {absolute(data)} {image_channels} {given} {found.fingerprint}"
    name = f"{name_of(data)}-{split}-{size}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
    out = (cache or cache_folder()) / name
    channels: Channels = 1 if image_channels == 1 else "auto"
    config = PrepareConfig(data, out, size, channels=channels, levels=given, layout=found.layout)
    if progress:
        verb = "using" if is_store(out) else "preparing once"
        print_line(f"{split} frames of {data}: {verb} the clip store {out}")
    return prepare(config, [split], found=found, only_bytes=levels is None, progress=progress)


def _check(store: Store, data: Place, size: int, image_channels: int) -> None:
    if store.size != size:
        raise ConfigError(
            f"{data} holds frames of size {store.size}, but {size} is asked for; give --size {store.size}, or prepare "
            f"another store with --size {size}"
        )
    if store.channels > image_channels:
        raise ConfigError(f"{data} holds colour frames, but the network takes grey; prepare it with --channels 1")


def _check_levels(store: Store, levels: LevelsOption) -> None:
    if levels not in ("choose", store.levels):
        raise ConfigError(
            f"{store.path} was made {_by(store.levels)}, but frames {_by(levels)} are asked for, as the model knows "
            f"them; prepare another store{'' if levels is None else ' with --levels'}"
        )


def _by(levels: LevelsOption) -> str:
    return "of 8 bits a pixel" if levels is None else f"by the levels {levels}"
