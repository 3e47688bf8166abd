"""Whether measurements, labels, data and checkpoint belong together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mnad.artifacts.measurements import ARRAYS, LOCAL_ARRAYS, Measurements
from mnad.data import Clips
from mnad.evaluation.localisation import frames_in_clips
from mnad.runtime.errors import DataError


def check_measurements(measurements: Measurements) -> None:
    """Makes sure that measurements agree with themselves.

    Raises:
        DataError: If arrays differ in length, or the frames of a video are not those of one video in order. Frames may
            be left out, as those whose window holds a frame that could not be read.
    """
    count = len(measurements)
    lengths = {name: len(getattr(measurements, name)) for name in ARRAYS}
    wrong = [f"{name} has {length}" for name, length in lengths.items() if length != count]
    if wrong or count == 0:
        raise DataError(f"the measurements are of {count} frames, but {', '.join(wrong) or 'that is none at all'}")
    shape = (count, len(measurements.poolings))
    for name in LOCAL_ARRAYS:
        found = getattr(measurements, name).shape
        if found != shape:
            raise DataError(f"the measurements are not whole: {name} has the shape {found}, not {shape}; score again")
    if measurements.video.min() < 0 or measurements.video.max() >= len(measurements.videos):
        raise DataError(f"the measurements count their videos wrongly: there are {len(measurements.videos)} names")
    for index, name in enumerate(measurements.videos):
        rows = np.flatnonzero(measurements.video == index)
        if (np.diff(rows) != 1).any() or (np.diff(measurements.frame[rows]) < 1).any():
            raise DataError(f"the measurements of video {name} are not frames in their order; score again")
    if measurements.labels is not None and len(measurements.labels) != count:
        covered = measurements.video[min(len(measurements.labels), count - 1)]
        raise DataError(
            f"there are {len(measurements.labels)} labels for {count} measured frames: they do not fit from video "
            f"{measurements.videos[covered]} on"
        )


def check_same_frames(measurements: Measurements, clips: Clips) -> None:
    """Makes sure that measurements were made of these very clips.

    Raises:
        DataError: If a video is unknown or has another number of frames; the message names it.
    """
    spans = dict(clips.videos())
    for index, name in enumerate(measurements.videos):
        if name not in spans:
            raise DataError(f"the measurements are of another data set: the data have no video {name}")
        frames = measurements.frame[measurements.video == index]
        count = spans[name].stop - spans[name].start
        whole = clips.missing is None or not clips.missing[spans[name]].any()
        if len(frames) and (frames[-1] != count - 1 if whole else frames[-1] >= count):
            raise DataError(
                f"the measurements of video {name} end with frame {frames[-1]}, but the data have {count} frames of it "
                "(counted from 0): they are of other frames; score again"
            )
    missing = [name for name in clips.names if name not in measurements.videos]
    if missing:
        raise DataError(f"the measurements are of another data set: they have nothing of video {missing[0]}")


def with_labels(measurements: Measurements, clips: Clips) -> Measurements:
    """Returns the measurements with the labels of the clips, whatever labels they were made with.

    Raises:
        DataError: If the clips have none, or are not of the same frames.
    """
    check_same_frames(measurements, clips)
    if clips.labels is None:
        raise DataError("the data have no labels; name a label file with --labels")
    labels = clips.labels[frames_in_clips(measurements, clips)]
    return replace(measurements, labels=labels, protocol={**measurements.protocol, "labels": clips.label_source})


def is_same_model(measurements: Measurements, other: dict[str, Any]) -> bool:
    """Returns whether something else is of the model that was measured, by the hash of its weights."""
    ours = measurements.protocol.get("weights")
    return ours is not None and ours == other.get("weights")


def check_same_model(measurements: Measurements, other: dict[str, Any], what: str) -> None:
    """Makes sure that something else is of the model that was measured.

    Raises:
        DataError: If it is of other weights.
    """
    if not is_same_model(measurements, other):
        raise DataError(
            f"{what} is of another model than the measurements: {_model(other)}, not {_model(measurements.protocol)}; "
            "score again"
        )


def _model(protocol: dict[str, Any]) -> str:
    weights = (protocol.get("weights") or "")[:12] or "not known (made by an earlier version)"
    return f"{protocol.get('preset')}, epoch {protocol.get('epoch')}, step {protocol.get('step')}, weights {weights}"
