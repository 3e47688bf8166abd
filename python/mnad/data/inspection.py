"""Looking at data before anything is done with them: what was found, and what is wrong with it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mnad.data.frames_seen import FramesSeen
from mnad.data.images import read_image
from mnad.data.labels import FromMasks
from mnad.data.layouts import LayoutName, find_layout
from mnad.data.levels import Levels, settle_levels
from mnad.data.looks import is_grey, levels_shown, look_at
from mnad.data.sources import ImageFiles
from mnad.data.splits import SPLITS, Problem, Split, SplitName, Video
from mnad.data.store import Store, is_store, open_store
from mnad.runtime.errors import DataError
from mnad.runtime.places import Place
from mnad.runtime.progress import FrameProgress, total_of, without_passwords


@dataclass(frozen=True)
class LabelSummary:
    """A label set: how many frames it calls abnormal, and on how many it differs from the masks if there are any."""

    name: str
    source: str
    abnormal: int
    differs_from_masks: int | None


@dataclass(frozen=True)
class SplitSummary:
    """What a split holds.

    Attributes:
        name: ``"training"`` or ``"testing"``.
        videos: The number of videos.
        frames: The number of frames; the headers' claim for video files that were only looked at quickly.
        resolutions: Videos by width x height.
        grey: Whether all channels are equal.
        rates: Videos by frames a second, as far as they say so.
        masked_videos: Videos with pixel masks.
        labels: The label sets, that which is taken by default first.
    """

    name: SplitName
    videos: int
    frames: int
    resolutions: dict[str, int]
    grey: bool
    rates: dict[str, int]
    masked_videos: int
    labels: tuple[LabelSummary, ...]


@dataclass(frozen=True)
class Inspection:
    """What is in a folder.

    Attributes:
        path: The folder, or its address.
        layout: How it is laid out.
        splits: What each split holds.
        levels: Black and white by which pixels of more than 8 bits would become bytes; None where none has more.
        problems: What is wrong, and what was passed over.
        quick: Whether only the first frame of each video was decoded.
    """

    path: Place
    layout: str
    splits: tuple[SplitSummary, ...]
    levels: tuple[float, float] | None
    problems: tuple[Problem, ...]
    quick: bool

    @property
    def usable(self) -> bool:
        """Whether there are videos and no errors."""
        return bool(self.splits) and not any(problem.level == "error" for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Returns all of it as plain values for JSON."""
        problems = [problem._asdict() for problem in self.problems]
        return {**asdict(self), "path": without_passwords(str(self.path)), "problems": problems, "usable": self.usable}


@dataclass(frozen=True)
class _Look:
    """What was seen of one video."""

    frames: int
    resolution: str | None
    grey: bool
    rate: float | None
    problems: tuple[Problem, ...]


def inspect(path: Place, layout: LayoutName | None = None, *, quick: bool = False, progress: bool = True) -> Inspection:
    """Finds out what a folder holds and what is wrong with it.

    Args:
        path: A data set in any known layout, the address of videos, or a clip store, whose checksums are then compared.
        layout: How it is laid out; found by looking if left out.
        quick: Whether to decode the first frame of each video only.
        progress: Whether to show a progress bar.

    Raises:
        DataError: If the folder is missing or laid out in no known way.
    """
    if is_store(path):
        return _inspect_store(open_store(path), quick=quick)
    known = find_layout(path, layout)
    reports: list[SplitSummary] = []
    problems: list[Problem] = []
    found = known.splits(path)
    for name in SPLITS:
        if name not in {split.name for split in found}:
            problems += _without(known.found(path, name))
    levels, fault = _levels(found)
    problems += fault
    for split in found:
        report, faults = _inspect_split(split, levels, quick=quick, progress=progress)
        reports.append(report)
        problems += faults
    if not reports:
        problems.append(Problem("error", f"there are no videos at all; layout {known.name} is {known.looks_like}"))
    if left := known.passed_over(path, found):
        problems.append(Problem("warning", left))
    return Inspection(path, known.name, tuple(reports), levels, tuple(dict.fromkeys(problems)), quick)


def _without(split: Split) -> list[Problem]:
    """Returns the reason why a split is not looked at."""
    if split.videos:
        return [Problem("warning", f"nothing says which videos are for {split.name}: the same ones serve")]
    return [*split.faults, Problem("warning", f"there are no {split.name} videos")]


def _levels(splits: Sequence[Split]) -> tuple[tuple[float, float] | None, list[Problem]]:
    """Returns the levels to look at frames by, and what is wrong with them."""
    found: dict[str, tuple[float, float] | None] = {}
    for split in splits:
        with suppress(DataError):  # the file is named when all are read
            found[split.name] = levels_shown(look_at(video, grey=False) for video in split.videos)
    try:
        return settle_levels(found), []
    except DataError as error:
        # Of one split alone: training, by whatever videos, will choose the levels.
        level: Literal["error", "warning"] = "error" if len(found) > 1 else "warning"
        return next(filter(None, found.values())), [Problem(level, str(error))]


def _inspect_split(
    split: Split, levels: tuple[float, float] | None, *, quick: bool, progress: bool
) -> tuple[SplitSummary, list[Problem]]:
    looks = _look_at(split, Levels(*levels) if levels else None, quick=quick, progress=progress)
    problems = [*split.problems(), *(problem for look in looks for problem in look.problems)]
    labels, faults = _inspect_labels(split, [look.frames for look in looks], quick=quick)
    resolutions = Counter(look.resolution for look in looks if look.resolution)
    report = SplitSummary(
        split.name,
        len(looks),
        sum(look.frames for look in looks),
        dict(resolutions),
        all(look.grey for look in looks),
        dict(Counter(f"{look.rate:g}" for look in looks if look.rate)),
        sum(video.masks is not None for video in split.videos),
        tuple(labels),
    )
    return report, problems + faults


def _look_at(split: Split, levels: Levels | None, *, quick: bool, progress: bool) -> list[_Look]:
    total = len(split.videos) if quick else total_of([_expected(video) for video in split.videos])
    with FrameProgress(f"{split.name} frames", total, enabled=progress) as bar:

        def look(video: Video) -> _Look:
            if isinstance(video.frames, ImageFiles):
                return _look_at_images(video.name, video.frames.files, levels, bar, quick=quick)
            return _look_at_video(video, levels, bar, quick=quick)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                return list(pool.map(look, split.videos))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _look_at_images(
    name: str, files: Sequence[Path], levels: Levels | None, bar: FrameProgress, *, quick: bool
) -> _Look:
    problems: list[Problem] = []
    shapes: Counter[str] = Counter()
    grey = True
    for path in files[:1] if quick else files:
        try:
            image = read_image(path, 3, levels)
        except DataError as error:
            problems.append(Problem("error", str(error)))
            continue
        shapes[_resolution(image)] += 1
        grey &= is_grey(image)
        bar.advance()
    if len(shapes) > 1:
        problems.append(Problem("error", f"video {name} has frames of several sizes: {', '.join(shapes)}"))
    return _Look(len(files), next(iter(shapes), None), grey, None, tuple(problems))


def _look_at_video(video: Video, levels: Levels | None, bar: FrameProgress, *, quick: bool) -> _Look:
    seen, grey, rate = FramesSeen(video), True, None
    resolution = None
    try:
        rate = video.frames.rate()
        for frame in islice(video.frames.read(3, levels, seen.tell), 1 if quick else None):
            seen.count(frame)
            if frame is not None:
                resolution = _resolution(frame)
                grey &= is_grey(frame)
            bar.advance()
        if quick:
            return _Look(video.frames.expected(), resolution, grey, rate, ())
        seen.checked_shape()
        return _Look(seen.frames, resolution, grey, rate, tuple(Problem("warning", fault) for fault in seen.faults()))
    except DataError as error:
        return _Look(seen.frames, resolution, grey, rate, (Problem("error", str(error)),))


def _inspect_labels(split: Split, counts: Sequence[int], *, quick: bool) -> tuple[list[LabelSummary], list[Problem]]:
    names = [video.name for video in split.videos]
    reports: list[LabelSummary] = []
    problems: list[Problem] = []
    truth = None if quick else _labels_of_masks(split, counts)
    for labels in split.label_sets:
        try:
            values = labels.fit(names, counts)
        except DataError as error:
            problems.append(Problem("error", str(error)))
            continue
        differs = None if truth is None else int((values != truth).sum())
        reports.append(LabelSummary(labels.name, labels.source, int(values.sum()), differs))
    if split.label_sets and not split.clear_default:
        choices = ", ".join(labels.name for labels in split.label_sets)
        problems.append(Problem("warning", f"it is not clear which labels are meant; name them by --labels: {choices}"))
    return reports, problems


def _labels_of_masks(split: Split, counts: Sequence[int]) -> NDArray[np.bool_] | None:
    masks = {video.name: video.masks for video in split.videos if video.masks is not None}
    if len(masks) < len(split.videos):
        return None
    try:
        return FromMasks("masks", "masks", masks).fit([video.name for video in split.videos], counts)
    except DataError:
        return None


def _inspect_store(store: Store, *, quick: bool) -> Inspection:
    reports = [
        SplitSummary(
            name,
            len(split.videos),
            split.frames,
            dict(Counter(f"{video.width} x {video.height}" for video in split.videos)),
            store.channels == 1,
            dict(Counter(f"{video.rate:g}" for video in split.videos if video.rate)),
            sum(video.masks_sha256 is not None for video in split.videos),
            tuple(LabelSummary(labels.name, labels.source, labels.abnormal, None) for labels in split.labels),
        )
        for name, split in store.splits.items()
    ]
    problems = [Problem("warning", fault) for fault in store.warnings]
    problems += [] if quick else [Problem("error", fault) for fault in store.problems()]
    layout = f"clip store, {store.size} x {store.size} x {store.channels}, made of {store.source} ({store.layout})"
    return Inspection(store.path, layout, tuple(reports), store.levels, tuple(problems), quick)


def _expected(video: Video) -> int:
    try:
        return video.frames.expected()
    except DataError:
        return 0


def _resolution(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
