"""Where frames and masks come from: image files, arrays and MATLAB cells, all read one by one.

Video files are in :mod:`mnad.data.video`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mnad.data.downloads import local_copy
from mnad.data.images import is_whole, pages_of, read_image, read_mask, read_pages, read_pixels
from mnad.data.levels import Levels, as_bytes
from mnad.data.matlab import load_matlab, matlab_variable
from mnad.runtime.errors import DataError, MnadError
from mnad.runtime.places import Place

PAGES_AT_ONCE = 32
T = TypeVar("T")


class Source(Protocol):
    """Images one after the other."""

    @property
    def files(self) -> tuple[Place, ...]:
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

    def rate(self) -> float | None:
        """Frames a second, on average; None where nothing says so."""
        ...

    def read(
        self, channels: int, levels: Levels | None = None, tell: Callable[[str], None] | None = None
    ) -> Iterator[NDArray[np.uint8] | None]:
        """Decodes one frame after the other.

        Args:
            channels: 3 for BGR, 1 for grey.
            levels: How pixels of more than 8 bits become bytes.
            tell: Called with what is found wrong as a whole.

        Yields:
            (H, W, channels) uint8; None for a frame that cannot be read, so that the others keep their numbers.

        Raises:
            DataError: If a file cannot be read, or has more than 8 bits and there are no levels.
        """
        ...

    def sample(self, channels: int, most: int) -> Iterator[NDArray[Any]]:
        """Decodes at most so many frames, spread over the whole, as deep as they are."""
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

    def rate(self) -> None:
        """Nothing: images have no times."""
        return

    def read(
        self, channels: int, levels: Levels | None = None, tell: Callable[[str], None] | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Decodes one image after the other; see :class:`FrameSource`."""
        return (read_image(path, channels, levels) for path in self.files)

    def sample(self, channels: int, most: int) -> Iterator[NDArray[Any]]:
        """Decodes some images; see :class:`FrameSource`."""
        return (read_pixels(path, channels) for path in spread(self.files, most))


@dataclass(frozen=True)
class PagedImage:
    """One file of many pictures, a frame each: the pages of a TIFF, an animation."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    def count(self) -> int:
        """The number of pages."""
        return pages_of(self.path)

    expected = count

    def rate(self) -> None:
        """Nothing: pages have no times."""
        return

    def read(
        self, channels: int, levels: Levels | None = None, tell: Callable[[str], None] | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Decodes one page after the other; see :class:`FrameSource`."""
        pages = self.count()
        for first in range(0, pages, PAGES_AT_ONCE):
            for page in read_pages(self.path, first, min(PAGES_AT_ONCE, pages - first), channels):
                yield as_bytes(page, levels, self.path)
        if tell is not None and not is_whole(self.path):
            tell(f"ends early: {pages} frames can be read of {self.path}, which is cut off")

    def sample(self, channels: int, most: int) -> Iterator[NDArray[Any]]:
        """Decodes some pages; see :class:`FrameSource`."""
        return (read_pages(self.path, page, 1, channels)[0] for page in spread(range(self.count()), most))


@dataclass(frozen=True)
class MaskImages:
    """A folder of mask images; every pixel that is not quite black is abnormal."""

    files: tuple[Path, ...]

    def count(self) -> int:
        """The number of masks."""
        return len(self.files)

    expected = count

    def read(self) -> Iterator[NDArray[np.bool_]]:
        """Decodes one mask after the other."""
        return (read_mask(path) for path in self.files)


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
        """Returns one mask after the other from the memory map."""
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
        """Returns one mask after the other."""
        cells = load_matlab(self.path, "volLabel").reshape(-1)
        if any(np.ndim(mask) != 2 for mask in cells):
            raise DataError(f"{self.path}: every cell of volLabel must hold a mask of height x width")
        return (np.asarray(mask) != 0 for mask in cells)


def spread(parts: Sequence[T], most: int) -> list[T]:
    """Returns at most so many parts, evenly spread, the first and the last among them.

    Example:
        >>> spread(range(10), 4)
        [0, 3, 6, 9]
    """
    if len(parts) <= most:
        return list(parts)
    return [parts[round(index * (len(parts) - 1) / (most - 1))] for index in range(most)]


def load_array(path: Place, *, mmap: bool = False) -> NDArray[Any]:
    """Reads a .npy file without objects.

    Raises:
        DataError: If it is missing, not whole, or holds pickled objects, which would run code.
    """
    try:
        # Mapped first, as no file can be mapped beyond its end: a damaged header may ask for more memory than there is.
        with local_copy(path) as file:
            array: NDArray[Any] = np.lib.format.open_memmap(file, mode="r")
            return array if mmap else np.array(array)
    except MnadError:
        raise
    except FileNotFoundError:
        raise DataError(f"the file {path} does not exist") from None
    except Exception as error:  # a damaged header leads NumPy into many kinds of them
        raise DataError(f"{path} cannot be read as a plain .npy array: {error}") from error
