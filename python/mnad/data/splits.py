"""What a layout finds of a split: its videos, their labels, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from mnad.data.folders import images_in, numbering_faults
from mnad.data.labels import LabelSet
from mnad.data.sources import FrameSource, ImageFiles, MaskImages, MaskSource
from mnad.runtime.errors import DataError
from mnad.runtime.places import Place, PlaceT

SplitName = Literal["training", "testing"]
SPLITS: tuple[SplitName, ...] = ("training", "testing")


class Problem(NamedTuple):
    """Something wrong with the data: an error keeps them from being used, a warning does not."""

    level: Literal["error", "warning"]
    message: str


@dataclass(frozen=True)
class Video:
    """One video: its name, its frames, and masks where there are any."""

    name: str
    frames: FrameSource
    masks: MaskSource | None = None

    def problems(self) -> Iterator[Problem]:
        """Yields the faults that can be seen without decoding."""
        count = self.frames.count()
        if count == 0:
            yield Problem("error", f"video {self.name} has no frames")
        if isinstance(self.frames, ImageFiles):
            duplicates, gaps = numbering_faults(self.frames.files)
            yield from (Problem("error", f"video {self.name}: {duplicate}") for duplicate in duplicates)
            yield from (Problem("warning", f"video {self.name}: {gap}") for gap in gaps)
        if self.masks is None:
            return
        try:
            masks = self.masks.count()
        except DataError as error:
            yield Problem("error", str(error))
            return
        if count is not None and masks is not None and count != masks:
            yield Problem("error", f"video {self.name} has {count} frames but {masks} masks in {place_of(self.masks)}")


@dataclass(frozen=True)
class Split:
    """The videos of a split, in the order in which labels and scores count them.

    Attributes:
        name: ``"training"`` or ``"testing"``.
        videos: The videos; none where the layout has no such split.
        label_sets: What says which frames are abnormal; the first is the one that is meant if none is named.
        faults: What the layout found wrong.
        clear_default: Whether the first label set may be taken without being named.
    """

    name: SplitName
    videos: tuple[Video, ...]
    label_sets: tuple[LabelSet, ...] = ()
    faults: tuple[Problem, ...] = ()
    clear_default: bool = True

    @property
    def files(self) -> tuple[Place, ...]:
        """All files of it: frames, masks, labels."""
        frames = [file for video in self.videos for file in video.frames.files]
        masks = [file for video in self.videos if video.masks is not None for file in video.masks.files]
        return (*frames, *masks, *(file for labels in self.label_sets for file in labels.files))

    def problems(self) -> list[Problem]:
        """Returns all that is wrong and can be seen without decoding, label lengths included."""
        found = [*self.faults, *(problem for video in self.videos for problem in video.problems())]
        found += self.doubled_names()
        counts = [video.frames.count() for video in self.videos]
        known = [count for count in counts if count is not None]
        if len(known) == len(counts) and all(counts):
            for labels in self.label_sets:
                try:
                    labels.fit([video.name for video in self.videos], known)
                except DataError as error:
                    found.append(Problem("error", str(error)))
        return found

    def doubled_names(self) -> list[Problem]:
        """Returns the names that several videos have."""
        names = Counter(video.name for video in self.videos)
        return [Problem("error", f"{count} videos are called {name}") for name, count in names.items() if count > 1]

    def check(self) -> list[str]:
        """Returns the faults that do not keep the videos from being used.

        Raises:
            DataError: With the first error and the number of the others.
        """
        problems = self.problems()
        errors = [problem.message for problem in problems if problem.level == "error"]
        if errors:
            others = f" (and {len(errors) - 1} more: mnad inspect lists them)" if len(errors) > 1 else ""
            raise DataError(errors[0] + others)
        return [problem.message for problem in problems]


def place_of(source: FrameSource | MaskSource) -> Place:
    """Returns the file of a source, or the folder of its images."""
    return source.files[0].parent if isinstance(source, ImageFiles | MaskImages) else source.files[0]


def image_video(folder: Path, masks: Path | None = None, name: str | None = None) -> Video:
    """Makes a video of a folder of images and perhaps one of mask images."""
    found = images_in(folder)
    mask_source = MaskImages(images_in(masks)) if masks is not None and masks.is_dir() else None
    return Video(name or folder.name, ImageFiles(found), mask_source)


def collect_labels(
    paths: Iterable[PlaceT], read: Callable[[PlaceT], LabelSet]
) -> tuple[tuple[LabelSet, ...], tuple[Problem, ...]]:
    """Reads a label set from each path; those that cannot be read become errors."""
    sets: list[LabelSet] = []
    faults: list[Problem] = []
    for path in paths:
        try:
            sets.append(read(path))
        except DataError as error:
            faults.append(Problem("error", str(error)))
    return tuple(sets), tuple(faults)
