"""Joining what was measured of each video of a data set, as one machine would have measured them all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mnad.artifacts.measurements import Measurements, joined
from mnad.data.label_files import read_labels
from mnad.data.labels import LabelSet, in_words
from mnad.data.splits import Split, Video
from mnad.pipeline.score import ScoreConfig
from mnad.runtime.places import place
from mnad.runtime.progress import without_passwords


def join_videos(
    config: ScoreConfig,
    split: Split,
    label_set: str | None,
    parts: Sequence[Measurements],
    short: Mapping[str, int],
    failed: Mapping[str, str],
) -> Measurements:
    """Joins the measurements of videos.

    Args:
        config: By which they were made.
        split: All videos, in order.
        label_set: The labels that are meant: a name, or a file; None if there are none.
        parts: The measurements, in the order of the videos.
        short: The number of frames of videos that are too short for a single window, by name.
        failed: What is wrong with those that could not be scored, by name.

    Raises:
        DataError: If the labels do not fit the videos.
    """
    counts = {part.videos[0]: int(part.protocol["frames"]) for part in parts} | dict(short)
    videos = [video for video in split.videos if video.name in counts]
    measured = joined(parts, [video.name for video in videos], _protocol(config, parts, failed))
    labels, source = _labels(config, split, label_set, videos, [counts[video.name] for video in videos])
    measured.protocol["labels"] = source
    if labels is None:
        return measured
    starts = np.cumsum([0, *(counts[video.name] for video in videos)])
    return replace(measured, labels=labels[starts[measured.video] + measured.frame])


def _labels(
    config: ScoreConfig, split: Split, label_set: str | None, videos: Sequence[Video], counts: Sequence[int]
) -> tuple[Any, str]:
    """Returns the labels of all frames of the videos, and where they come from."""
    if label_set is None:
        return None, "none"
    found: LabelSet
    names = [video.name for video in videos]
    chosen = next((each for each in split.label_sets if each.name == label_set), None)
    if chosen is None:
        file = place(label_set)
        found, source = read_labels(file, [video.name for video in split.videos]), file.name
    else:
        found, source = chosen, in_words(chosen.name, chosen.source)
    lost = [video.name for video in split.videos if video not in videos]
    if lost:
        of_these = found.only(names)
        if of_these is None:
            warnings.warn(
                f"the labels {source} stand end to end for all videos, and it is not known how many belong to "
                f"{lost[0]}, which could not be read: the measurements are stored without labels; mend the video, or "
                "take it and its labels out",
                stacklevel=2,
            )
            return None, "none"
        found = of_these
    return found.fit(names, counts), source


def _protocol(config: ScoreConfig, parts: Sequence[Measurements], failed: Mapping[str, str]) -> dict[str, Any]:
    """Returns how the whole was made: what all videos have in common, and what came of the job."""
    protocols = [part.protocol for part in parts]
    closest = [each["closest_update_error"] for each in protocols if each["closest_update_error"] is not None]
    threshold = protocols[0]["update_threshold"]
    rates = [each["rates"][0] if each["rates"] else None for each in protocols]
    frames = sum(map(len, parts))
    seconds = sum(each["seconds"] for each in protocols)
    return {
        **{name: value for name, value in protocols[0].items() if name != "frames"},
        "faults": [fault for each in protocols for fault in each["faults"]],
        "data": without_passwords(str(config.data)),
        "checkpoint": str(config.run),
        "closest_update_error": min(closest, key=lambda error: abs(error - threshold)) if closest else None,
        "decodings_per_frame": round(
            sum(each["decodings_per_frame"] * len(part) for each, part in zip(protocols, parts, strict=True)) / frames,
            4,
        ),
        "rates": rates if any(rates) else [],
        "seconds": round(seconds, 3),
        "frames_per_second": round(frames / seconds, 2),
        "device": ", ".join(sorted({each["device"] for each in protocols})),
        "engine": "ray",
        "failed": dict(failed),
    }


def join_pieces(pieces: Sequence[Measurements], last: int) -> Measurements:
    """Joins the measurements of the parts of a video, in order; the last part begins with the frame of that number."""
    protocols = [piece.protocol for piece in pieces]
    protocol = {
        **protocols[0],
        "frames": last + protocols[-1]["frames"],
        "faults": list(dict.fromkeys(fault for each in protocols for fault in each["faults"])),
        "seconds": round(sum(each["seconds"] for each in protocols), 3),
    }
    return joined(pieces, pieces[0].videos, protocol)
