"""Where frames and masks come from: image files, video files, arrays and MATLAB cells, all read one by one."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

# What OpenCV and FFmpeg find wrong is told by errors and warnings of our own.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat

from mnad.data.images import read_image
from mnad.errors import DataError


class Source(Protocol):
    """Images one after the other."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it reads."""
        ...

    def count(self) -> int | None:
        """The number of images where it can be known without decoding them; None elsewhere."""
        ...

    def expected(self) -> int:
        """The number of images as it is claimed; for progress bars and warnings only."""
        ...


class FrameSource(Source, Protocol):
    """The frames of a video."""

    def read(self, channels: int) -> Iterator[NDArray[np.uint8]]:
        """Decodes (H, W, channels) uint8 frames, BGR where there are 3 channels.

        Raises:
            DataError: If a file cannot be read.
        """
        ...


class MaskSource(Source, Protocol):
    """The pixel masks of a video, one for each frame."""

    def read(self) -> Iterator[NDArray[np.bool_]]:
        """Reads (H, W) masks, True where a pixel is abnormal.

        Raises:
            DataError: If a file cannot be read.
        """
        ...


@dataclass(frozen=True)
class ImageFiles:
    """A folder of images, one for each frame."""

    files: tuple[Path, ...]

    def count(self) -> int:
        """The number of images."""
        return len(self.files)

    expected = count

    def read(self, channels: int) -> Iterator[NDArray[np.uint8]]:
        """Decodes one image after the other; see :class:`FrameSource`."""
        return (read_image(path, channels) for path in self.files)


@dataclass(frozen=True)
class VideoFile:
    """A video file, decoded by OpenCV. Its header's frame count is not trusted: what can be decoded counts."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    def count(self) -> None:
        """Nothing: only decoding tells."""
        return

    def expected(self) -> int:
        """The header's count, 0 where it has none."""
        capture = self._open()
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        return max(count, 0)

    def read(self, channels: int) -> Iterator[NDArray[np.uint8]]:
        """Decodes the frames up to the first that cannot be decoded; see :class:`FrameSource`."""
        capture = self._open()
        try:
            while True:
                more, frame = capture.read()
                if not more:
                    return
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)[..., None] if channels == 1 else frame
        finally:
            capture.release()

    def _open(self) -> Any:
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            size = self.path.stat().st_size if self.path.is_file() else 0
            raise DataError(f"{self.path} is not a video that OpenCV can read ({size:,} bytes)")
        return capture


@dataclass(frozen=True)
class MaskImages:
    """A folder of mask images; every pixel that is not black is abnormal."""

    files: tuple[Path, ...]

    def count(self) -> int:
        """The number of masks."""
        return len(self.files)

    expected = count

    def read(self) -> Iterator[NDArray[np.bool_]]:
        """Decodes one mask after the other."""
        return (read_image(path, 1)[..., 0] > 0 for path in self.files)


@dataclass(frozen=True)
class MaskArray:
    """A .npy file of masks, (F, H, W), as ShanghaiTech has them."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    def count(self) -> int:
        """The number of masks."""
        return len(self._open())

    expected = count

    def read(self) -> Iterator[NDArray[np.bool_]]:
        """Gives one mask after the other from the memory map."""
        return (mask != 0 for mask in self._open())

    def _open(self) -> NDArray[Any]:
        masks = load_array(self.path, mmap=True)
        if masks.ndim != 3:
            raise DataError(f"{self.path} must hold masks of shape (frames, height, width), got {masks.shape}")
        return masks


@dataclass(frozen=True)
class MaskCells:
    """A .mat file whose key ``volLabel`` is a 1 x F cell of masks, as CUHK Avenue has them."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    def count(self) -> int:
        """The number of masks."""
        shape, kind = matlab_variable(self.path, "volLabel")
        if kind != "cell":
            raise DataError(f"{self.path}: volLabel must be a 1 x F cell of masks, got {kind} {shape}")
        return math.prod(shape)

    expected = count

    def read(self) -> Iterator[NDArray[np.bool_]]:
        """Gives one mask after the other."""
        cells = load_matlab(self.path, "volLabel").reshape(-1)
        if any(np.ndim(mask) != 2 for mask in cells):
            raise DataError(f"{self.path}: every cell of volLabel must hold a mask of height x width")
        return (np.asarray(mask) != 0 for mask in cells)


def load_array(path: Path, *, mmap: bool = False) -> NDArray[Any]:
    """Reads a .npy file without objects.

    Raises:
        DataError: If it is missing, not whole, or holds pickled objects, which would run code.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"the file {path} does not exist") from None
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} cannot be read as a plain .npy array: {error}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path} cannot be read as a plain .npy array: it is an archive of several")
    return array


def load_matlab(path: Path, key: str) -> NDArray[Any]:
    """Reads one variable of a MATLAB file.

    Raises:
        DataError: If the file is missing or cannot be read, or has no such variable.
    """
    matlab_variable(path, key)
    with _matlab_faults(path):
        return np.asarray(loadmat(path, variable_names=[key])[key])


def matlab_variable(path: Path, key: str) -> tuple[tuple[int, ...], str]:
    """Gives the shape and the class of a variable of a MATLAB file without reading it.

    Raises:
        DataError: If the file is missing or cannot be read, or has no such variable.
    """
    with _matlab_faults(path):
        variables = {name: (shape, kind) for name, shape, kind in whosmat(path)}
    if key not in variables:
        raise DataError(f"{path} has no variable {key}; it holds {', '.join(variables) or 'nothing'}")
    return variables[key]


@contextmanager
def _matlab_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"the file {path} does not exist") from None
    except NotImplementedError as error:
        raise DataError(f"{path} is a MATLAB 7.3 file; save it again with -v7 in MATLAB") from error
    except Exception as error:  # a damaged file leads SciPy into many kinds of them
        raise DataError(f"{path} cannot be read as a MATLAB file: {error}") from error
