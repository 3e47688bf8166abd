"""The clip store: the decoded frames of a data set, memory-mapped.

::

    STORE/store.json                 what it holds, where it comes from, checksums
    STORE/training/frames.npy        (N, size, size, channels) uint8, all videos end to end
    STORE/testing/frames.npy
    STORE/testing/masks.npy          (N, size, size / 8) uint8, eight pixels to a byte; where there are masks
    STORE/testing/labels-0.npy       (N,) bool, one file for each label set
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnad.data.clips import Clips
from mnad.data.label_files import read_labels
from mnad.data.labels import in_words, settle_labels
from mnad.data.sources import load_array
from mnad.data.splits import SPLITS, SplitName
from mnad.runtime.errors import DataError
from mnad.runtime.files import input_errors, sealed, unsealed
from mnad.runtime.places import Place, place

if TYPE_CHECKING:
    from typing_extensions import TypeIs

FORMAT = "mnad-store/3"
MANIFEST = "store.json"
FRAMES, MASKS = "frames.npy", "masks.npy"


@dataclass(frozen=True)
class StoredVideo:
    """A video of a store.

    Attributes:
        name: Its name.
        frames: The number of its frames.
        width: Of the frames before they were resized.
        height: Of the frames before they were resized.
        rate: Frames a second; None where nothing says so.
        missing: The frames that could not be read, by number; they are stored black.
        sha256: Of its frames in the store.
        masks_sha256: Of its masks in the store; None where it has none.
    """

    name: str
    frames: int
    width: int
    height: int
    rate: float | None
    missing: tuple[int, ...]
    sha256: str
    masks_sha256: str | None


@dataclass(frozen=True)
class StoredLabels:
    """A label set of a store: its name, where it came from, its file and how many frames it calls abnormal."""

    name: str
    source: str
    file: str
    sha256: str
    abnormal: int


@dataclass(frozen=True)
class StoredSplit:
    """A split of a store; ``default_labels`` is None where the label set must be named, or there is none."""

    videos: tuple[StoredVideo, ...]
    labels: tuple[StoredLabels, ...]
    default_labels: str | None

    @property
    def frames(self) -> int:
        """The number of frames."""
        return sum(video.frames for video in self.videos)

    @property
    def missing(self) -> NDArray[np.bool_] | None:
        """Returns for each frame whether it could not be read; None where all could."""
        if not any(video.missing for video in self.videos):
            return None
        return np.concatenate([np.isin(np.arange(video.frames), video.missing) for video in self.videos])

    @property
    def has_masks(self) -> bool:
        """Whether any video has masks."""
        return any(video.masks_sha256 for video in self.videos)


@dataclass(frozen=True)
class Store:
    """A clip store that was opened; the frames themselves are mapped by :meth:`clips`.

    Attributes:
        path: Its folder.
        source: The data set it was made of.
        layout: How that was laid out.
        size: Height and width of the frames.
        channels: 1 (grey) or 3 (BGR).
        levels: Which values became black and white where pixels had more than 8 bits; None where none had.
        decoders: The versions of what decoded.
        fingerprint: Of names, sizes and times of the files it was made of.
        warnings: What was found wrong on the way.
        splits: The splits it has.
    """

    path: Path
    source: str
    layout: str
    size: int
    channels: int
    levels: tuple[float, float] | None
    decoders: str
    fingerprint: str
    warnings: tuple[str, ...]
    splits: dict[SplitName, StoredSplit]

    def clips(self, split: SplitName, labels: str | None = None) -> Clips:
        """Maps the frames of a split.

        Args:
            split: Which one.
            labels: The name of a label set, or a label file; the store's own default if left out.

        Raises:
            DataError: If the store has no such split or labels, or is not whole.
        """
        if split not in self.splits:
            raise DataError(f"{self.source} has no {split} videos; it has {', '.join(self.splits)}")
        stored = self.splits[split]
        counts = [video.frames for video in stored.videos]
        values, source = self._choose_labels(split, labels)
        shape = (stored.frames, self.size, self.size)
        return Clips(
            frames=self._map(split, FRAMES, (*shape, self.channels)),
            names=tuple(video.name for video in stored.videos),
            starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            labels=values,
            label_source=source,
            packed_masks=self._map(split, MASKS, (*shape[:2], self.size // 8)) if stored.has_masks else None,
            masked_videos=tuple(video.masks_sha256 is not None for video in stored.videos),
            missing=stored.missing,
            rates=tuple(video.rate for video in stored.videos) if any(video.rate for video in stored.videos) else (),
            levels=self.levels,
        )

    def problems(self) -> Iterator[str]:
        """Compares all contents with the checksums and gives what differs."""
        for split, stored in self.splits.items():
            try:
                clips = self.clips(split, stored.labels[0].name if stored.labels else None)
            except DataError as error:
                yield str(error)
                continue
            for video, (_, span) in zip(stored.videos, clips.videos(), strict=True):
                if checksum(clips.frames[span]) != video.sha256:
                    yield f"{split} video {video.name}: the frames are not those that were written"
                packed = clips.packed_masks
                if video.masks_sha256 and packed is not None and checksum(packed[span]) != video.masks_sha256:
                    yield f"{split} video {video.name}: the masks are not those that were written"
            for labels in stored.labels:
                if checksum(load_array(self.path / split / labels.file)) != labels.sha256:
                    yield f"{split} labels {labels.name}: they are not those that were written"

    def _choose_labels(self, split: SplitName, wanted: str | None) -> tuple[NDArray[np.bool_] | None, str]:
        stored = self.splits[split]
        sets = {labels.name: labels for labels in stored.labels}
        name = settle_labels(wanted, list(sets), stored.default_labels, self.source, split)
        if name is None:
            return None, "none"
        if name in sets:
            values = load_array(self.path / split / sets[name].file)
            if checksum(values) != sets[name].sha256:
                raise DataError(f"the labels {name} of {self.path} are not those that were written; prepare it again")
            return values, in_words(name, sets[name].source)
        file = place(name)
        names = [video.name for video in stored.videos]
        fitted = read_labels(file, names).fit(names, [video.frames for video in stored.videos])
        return fitted, file.name

    def _map(self, split: str, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        array = load_array(self.path / split / name, mmap=True)
        if array.shape != shape or array.dtype != np.uint8:
            raise DataError(
                f"{self.path / split / name} should be uint8 {shape} and is {array.dtype} {array.shape}; remove the "
                "store and prepare it again"
            )
        return array


def is_store(path: Place) -> TypeIs[Path]:
    """Returns whether a folder is a clip store. At an address there is none, as it is mapped into memory."""
    return isinstance(path, Path) and (path / MANIFEST).is_file()


def open_store(path: Path) -> Store:
    """Opens a store; its frames are mapped later.

    Raises:
        DataError: If it is no store, or one of another version.
    """
    with input_errors(path / MANIFEST, "the manifest of a clip store", DataError):
        content = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise DataError(f"{path} is a store of another version; remove it and prepare it again")
        content = unsealed(content)
        del content["format"]
        content["warnings"] = tuple(content["warnings"])
        content["levels"] = tuple(content["levels"]) if content["levels"] else None
        splits = {split: _split(content["splits"][split]) for split in SPLITS if split in content["splits"]}
        return Store(path, **{**content, "splits": splits})


def manifest(store: Store) -> str:
    """Returns the content of a store's manifest."""
    content = asdict(store)
    del content["path"]
    return json.dumps(sealed({"format": FORMAT, **content}), indent=2) + "\n"


def checksum(array: NDArray[Any]) -> str:
    """Returns the SHA-256 of an array's bytes, hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).hexdigest()


def _split(content: dict[str, Any]) -> StoredSplit:
    return StoredSplit(
        tuple(StoredVideo(**video | {"missing": tuple(video["missing"])}) for video in content["videos"]),
        tuple(StoredLabels(**labels) for labels in content["labels"]),
        content["default_labels"],
    )
