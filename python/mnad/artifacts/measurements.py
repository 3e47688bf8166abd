"""Raw measurements of a scored test set: one file a run, from which every score is then a pure function."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mnad.runtime.errors import DataError
from mnad.runtime.files import atomic_write, input_errors
from mnad.runtime.places import Place, PlaceT, is_file, readable

FORMAT = "mnad-measurements/4"
LOCAL_ARRAYS = ("local_psnr", "relative_psnr")
ARRAYS = ("video", "frame", "mse", "psnr", "distance", *LOCAL_ARRAYS, "update_error", "updated", "nearest")


@dataclass(frozen=True)
class Measurements:
    """What was measured of each scored frame, all videos end to end, and how.

    Attributes:
        videos: Names of the V videos.
        video: (N,) int64, the video of each scored frame.
        frame: (N,) int64, its number in the video, from 0.
        mse: (N,), mean squared error of the restored frame on the scale [0, 1].
        psnr: (N,), P = 10 log10(1 / mse) in dB; a perfect frame (mse 0) counts as the smallest positive error that
            eight-bit frames can have, see :func:`mnad.measuring.psnr`.
        distance: (N,), D, the compactness of the frame's queries; NaN for a model without memory.
        local_psnr: (N, P), P in dB where the error is largest in the frame, by each of the ``poolings``.
        relative_psnr: (N, P), how far in dB the error is below a quarter of its usual level at its place, where that is
            least, see :class:`mnad.measuring.usual.Usual`; NaN where that was not known.
        update_error: (N,), E_t of the test-time update.
        updated: (N,) bool, whether the frame's queries updated the items.
        nearest: (N, M) int32, how many of the frame's queries are nearest to each item; M = 0 without a memory.
        poolings: Names of the P ways in which maps became local errors, see :func:`mnad.measuring.pooling.pool`.
        labels: (N,) bool, True = abnormal; None where unknown.
        protocol: How it was measured: the model's options and checkpoint, data, split, labels, update, threshold,
            precision, batch size, device, versions, commit, seconds.
    """

    videos: tuple[str, ...]
    video: NDArray[np.int64]
    frame: NDArray[np.int64]
    mse: NDArray[np.float64]
    psnr: NDArray[np.float64]
    distance: NDArray[np.float64]
    local_psnr: NDArray[np.float64]
    relative_psnr: NDArray[np.float64]
    update_error: NDArray[np.float64]
    updated: NDArray[np.bool_]
    nearest: NDArray[np.int32]
    poolings: tuple[str, ...]
    labels: NDArray[np.bool_] | None
    protocol: dict[str, Any]

    def __len__(self) -> int:
        """The number of scored frames."""
        return len(self.mse)

    @property
    def stretch(self) -> NDArray[np.int64]:
        """(N,), the stretch of each frame: frames of a video in a row, none between them left out; from 0."""
        begins = (np.diff(self.video) != 0) | (np.diff(self.frame) != 1)
        return np.cumsum(np.concatenate([[False], begins])[: len(self)], dtype=np.int64)


def measurements_file(place: PlaceT, split: str = "testing") -> PlaceT:
    """Returns the measurements of a split in a run's folder; the path itself if it is no folder.

    At an address what ends in .npz is no folder.

    Example:
        >>> measurements_file(Path("measured.npz")).name
        'measured.npz'
    """
    is_folder = place.is_dir() if isinstance(place, Path) else place.suffix != ".npz"
    return place / measurements_name(split) if is_folder else place


def measurements_name(split: str) -> str:
    """Returns the name of a split's measurements in a run's folder."""
    return f"measurements{'' if split == 'testing' else f'-{split}'}.npz"


def joined(parts: Sequence[Measurements], names: Sequence[str], protocol: dict[str, Any]) -> Measurements:
    """Joins measurements of a model that were made apart, such as one after the other of each video.

    Args:
        parts: The measurements, in the order of the videos.
        names: The videos that are to be, some perhaps without a frame.
        protocol: How they were made.

    Returns:
        Measurements without labels.
    """
    numbers = {name: number for number, name in enumerate(names)}
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS if name != "video"}
    video = [np.array([numbers[name] for name in part.videos], np.int64)[part.video] for part in parts]
    return Measurements(
        videos=tuple(names),
        video=np.concatenate(video),
        **arrays,
        poolings=parts[0].poolings,
        labels=None,
        protocol=protocol,
    )


def save_measurements(path: Place, measurements: Measurements) -> None:
    """Writes measurements as a compressed .npz without objects; whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        write_measurements(file, measurements)


def write_measurements(file: BinaryIO, measurements: Measurements) -> None:
    """Writes measurements to a file that is open, as :func:`save_measurements`."""
    arrays = {name: getattr(measurements, name) for name in ARRAYS}
    if measurements.labels is not None:
        arrays["labels"] = measurements.labels
    header = {
        "format": FORMAT,
        "videos": measurements.videos,
        "poolings": measurements.poolings,
        "protocol": measurements.protocol,
    }
    np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)


def load_measurements(path: Place) -> Measurements:
    """Reads measurements.

    Args:
        path: The file, or the folder of a run, which holds ``measurements.npz``.

    Raises:
        DataError: If there are none, or the file does not hold measurements.
    """
    file = measurements_file(path)
    if not is_file(file):
        raise DataError(f"there are no measurements at {file}; make them with: mnad score {path} --data DATA")
    with input_errors(file, "a file of measurements", DataError):
        with np.load(readable(file), allow_pickle=False) as stored:
            header = json.loads(str(stored["header"]))
            if header.get("format") != FORMAT:
                raise DataError(
                    f"{file} holds {header.get('format')!r}, not {FORMAT}; score again with: mnad score {path} --data "
                    "DATA"
                )
            arrays = {name: stored[name] for name in ARRAYS}
            labels = stored.get("labels")
        return Measurements(
            videos=tuple(header["videos"]),
            **arrays,
            poolings=tuple(header["poolings"]),
            labels=labels,
            protocol=header["protocol"],
        )
