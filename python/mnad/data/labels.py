"""Which frames are abnormal, in all the ways in which it is written down.

A label set knows where it comes from and is fitted to the videos once their frames have been counted; until then its
length cannot be checked. Events count frames from 0 and include their last frame; the readers of files that count
from 1 see to that (:mod:`mnad.data.label_files`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mnad.data.sources import MaskSource
from mnad.runtime.errors import DataError
from mnad.runtime.places import Place, place


class Event(NamedTuple):
    """Abnormal frames in a row, counted from 0; the last one is included."""

    first: int
    last: int


class LabelSet(Protocol):
    """Labels of a split under a name.

    Attributes:
        name: What it is called by ``--labels``.
        source: Where it comes from, for people.
        files: What it was read from.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def source(self) -> str: ...  # noqa: D102

    @property
    def files(self) -> tuple[Place, ...]: ...  # noqa: D102

    def fit(self, names: Sequence[str], counts: Sequence[int]) -> NDArray[np.bool_]:
        """Returns a label for each frame, all videos end to end, True = abnormal.

        Args:
            names: The videos.
            counts: The number of frames of each.

        Raises:
            DataError: If the labels are not of these videos; the message names the video.
        """
        ...

    def only(self, names: Collection[str]) -> LabelSet | None:
        """Returns the labels of some of the videos; None where it cannot be told which they are."""
        ...


@dataclass(frozen=True)
class EndToEnd:
    """One label for each frame, all videos end to end."""

    name: str
    source: str
    files: tuple[Place, ...]
    values: NDArray[np.bool_]

    def fit(self, names: Sequence[str], counts: Sequence[int]) -> NDArray[np.bool_]:
        """See :meth:`LabelSet.fit`."""
        given, total = len(self.values), sum(counts)
        if given > total:
            raise DataError(
                f"{self.source} has {given} labels for {total} frames: {given - total} are left after the last video, "
                f"{names[-1]}; a frame is missing somewhere or the file belongs to another data set"
            )
        covered = 0
        for name, count in zip(names, counts, strict=True):
            if covered + count > given:
                raise DataError(
                    f"{self.source} has {given} labels for {total} frames: they run out in video {name}, which has "
                    f"{count} frames and gets {given - covered} labels"
                )
            covered += count
        return self.values

    def only(self, names: Collection[str]) -> None:
        """Nothing: the lengths of all videos tell which labels are whose."""
        return


@dataclass(frozen=True)
class ByVideo:
    """One label for each frame, video by video."""

    name: str
    source: str
    files: tuple[Place, ...]
    values: Mapping[str, NDArray[np.bool_]]

    def fit(self, names: Sequence[str], counts: Sequence[int]) -> NDArray[np.bool_]:
        """See :meth:`LabelSet.fit`."""
        _check_names(self.source, self.values, names)
        for name, count in zip(names, counts, strict=True):
            if name not in self.values:
                raise DataError(f"{self.source} has no labels for video {name}")
            if len(self.values[name]) != count:
                raise DataError(f"{self.source} has {len(self.values[name])} labels for the {count} frames of {name}")
        return np.concatenate([self.values[name] for name in names])

    def only(self, names: Collection[str]) -> ByVideo:
        """See :meth:`LabelSet.only`."""
        return replace(self, values={name: value for name, value in self.values.items() if name in names})


@dataclass(frozen=True)
class Events:
    """Events of each video; one that has none is normal."""

    name: str
    source: str
    files: tuple[Place, ...]
    events: Mapping[str, Sequence[Event]]

    def fit(self, names: Sequence[str], counts: Sequence[int]) -> NDArray[np.bool_]:
        """See :meth:`LabelSet.fit`."""
        _check_names(self.source, self.events, names)
        fitted = []
        for name, count in zip(names, counts, strict=True):
            labels = np.zeros(count, np.bool_)
            for first, last in self.events.get(name, ()):
                if not 0 <= first <= last < count:
                    raise DataError(
                        f"{self.source}: video {name} has the frames 0 to {count - 1}, but an event from {first} to "
                        f"{last} (counted from 0)"
                    )
                labels[first : last + 1] = True
            fitted.append(labels)
        return np.concatenate(fitted)

    def only(self, names: Collection[str]) -> Events:
        """See :meth:`LabelSet.only`."""
        return replace(self, events={name: events for name, events in self.events.items() if name in names})


@dataclass(frozen=True)
class FromMasks:
    """A frame is abnormal where its mask is not empty."""

    name: str
    source: str
    masks: Mapping[str, MaskSource]

    @property
    def files(self) -> tuple[Place, ...]:
        """The files of all masks."""
        return tuple(file for masks in self.masks.values() for file in masks.files)

    def fit(self, names: Sequence[str], counts: Sequence[int]) -> NDArray[np.bool_]:
        """See :meth:`LabelSet.fit`."""
        values = {
            name: np.fromiter((mask.any() for mask in masks.read()), np.bool_) for name, masks in self.masks.items()
        }
        return ByVideo(self.name, self.source, self.files, values).fit(names, counts)

    def only(self, names: Collection[str]) -> FromMasks:
        """See :meth:`LabelSet.only`."""
        return replace(self, masks={name: masks for name, masks in self.masks.items() if name in names})


def settle_labels(wanted: str | None, known: Sequence[str], default: str | None, data: str, split: str) -> str | None:
    """Settles which labels are meant.

    Args:
        wanted: The name of a label set, or a label file; None if nothing was named.
        known: The names of the data's own label sets.
        default: The one that may be taken without being named; None if there is none.
        data: The data set, for the message.
        split: Whose they are; of training videos labels count only if they are named.

    Returns:
        One of the known names, or a file; None where there are no labels.

    Raises:
        DataError: If one must be named, or there is none of that name.
    """
    if wanted is None and (not known or split == "training"):
        return None
    name = wanted or default
    if name is None:
        raise DataError(f"{data} has {len(known)} label sets; say which one with --labels: {', '.join(known)}")
    file = None if name in known else place(name)
    if isinstance(file, Path) and not file.exists():
        own = f"its label sets are {', '.join(known)}" if known else "it has no label sets of its own"
        raise DataError(f"labels {name!r} are neither a file nor a label set of {data}; {own}")
    return name


def in_words(name: str, source: str) -> str:
    """Returns what labels are called for people: their name, and the last part of where they come from."""
    return f"{name} ({Path(source).name})"


def _check_names(source: str, given: Mapping[str, object], names: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise DataError(
            f"{source} has labels for {unknown[0]}, which is none of the {len(names)} videos ({', '.join(names[:5])}"
            f"{', ...' if len(names) > 5 else ''})"
        )
