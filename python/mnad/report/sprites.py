"""Pictures of many frames as sheets of tiles, small enough to stand in one HTML file.

A layer is one kind of picture: the frame, the restored frame, a map. The kept frames of a video are laid out 64 to a
sheet, row by row, so that a browser decodes a sheet when it is first looked at. How many frames are kept, and how well,
follows from the bytes that there are.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.runtime.errors import OutputError
from mnad.runtime.progress import track

COLUMNS, TILES = 8, 64
QUALITIES = (75, 60, 45, 30)
MAP_QUALITY = 75
SAMPLED_SHEETS = 4
# WebP codes blocks of 16 pixels: a smaller tile, or one that ends within a block, would bleed into its neighbour.
BLOCK, SMALLEST_LOSSY = 16, 32


@dataclass(frozen=True)
class Layer:
    """One kind of picture of each scored frame.

    Attributes:
        name: Its name in the page.
        tiles: (N, h, w, 1 or 3) uint8, BGR; or a map, (N, h, w, 1), on a scale of 255.
        is_map: Whether the values are looked up in a palette: they keep more of their quality.
    """

    name: str
    tiles: NDArray[np.uint8]
    is_map: bool

    def quality(self, of_pictures: int) -> int:
        """Returns the WebP quality of this layer, above 100 for lossless."""
        h, w = self.tiles.shape[1:3]
        if min(h, w) < SMALLEST_LOSSY or h % BLOCK or w % BLOCK:
            return 101
        return MAP_QUALITY if self.is_map else of_pictures


@dataclass(frozen=True)
class SpritePlan:
    """Every how many frames one is kept, and the quality of the pictures, from 1 to 100."""

    step: int
    quality: int


@dataclass(frozen=True)
class Sheet:
    """The text of one sheet, a WebP file in base64, and where it belongs."""

    layer: str
    video: int
    number: int
    text: str


@dataclass
class Sprites:
    """All sheets of a report.

    Attributes:
        plan: What was kept.
        kept: For each video the rows of its scored frames that have pictures, counted from 0 in the video, ascending.
        sheets: The sheets.
    """

    plan: SpritePlan
    kept: list[NDArray[np.int64]]
    sheets: list[Sheet] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all sheets."""
        return sum(len(sheet.text) for sheet in self.sheets)


def tile_place(position: int) -> tuple[int, int, int]:
    """Returns the sheet, the column and the row of a kept frame.

    Args:
        position: Its place among the kept frames of its video, from 0.

    Example:
        >>> tile_place(0), tile_place(63), tile_place(74)
        ((0, 0, 0), (0, 7, 7), (1, 2, 1))
    """
    sheet, tile = divmod(position, TILES)
    return sheet, tile % COLUMNS, tile // COLUMNS


def lay_out(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lays up to 64 tiles out row by row, eight in a row; what remains of the last row is black.

    Args:
        tiles: (n, h, w, channels).

    Returns:
        (rows * h, columns * w, channels); fewer than eight tiles make a single, shorter row.
    """
    n, h, w, channels = tiles.shape
    columns = min(n, COLUMNS)
    rows = -(-n // columns)
    filled = np.zeros((rows * columns, h, w, channels), np.uint8)
    filled[:n] = tiles
    grid = filled.reshape(rows, columns, h, w, channels).swapaxes(1, 2)
    return grid.reshape(rows * h, columns * w, channels)


def make_sprites(
    layers: Sequence[Layer], counts: Sequence[int], wanted: Sequence[int], budget: int, *, progress: bool = True
) -> Sprites:
    """Makes the sheets, as well as the budget allows.

    Args:
        layers: All of the same N frames, the videos end to end.
        counts: The number of scored frames of each video; they add up to N.
        wanted: Frames, from 0 to N - 1, that are kept whatever the step is.
        budget: Bytes that all sheets may take as text.
        progress: Whether to show a progress bar.

    Raises:
        OutputError: If not even a few frames would fit.
    """
    starts = np.concatenate([[0], np.cumsum(counts)])
    plan = choose_plan(layers, int(starts[-1]), budget)
    while True:
        sprites = Sprites(plan, kept_frames(counts, wanted, plan.step))
        jobs = list(_jobs(layers, sprites.kept, starts))
        for layer, video, number, rows in track(jobs, "packing pictures", len(jobs), enabled=progress):
            text = _encode(layer.tiles[rows], layer.quality(plan.quality))
            sprites.sheets.append(Sheet(layer.name, video, number, text))
        if sprites.size <= budget:
            return sprites
        if plan.step > max(counts):
            raise OutputError(
                f"{len(wanted)} pictures of each kind take {sprites.size:,} bytes, and the report has {budget:,} for "
                "them; allow a larger file"
            )
        plan = SpritePlan(plan.step + -(-plan.step // 8), plan.quality)


def kept_frames(counts: Sequence[int], wanted: Sequence[int], step: int) -> list[NDArray[np.int64]]:
    """Chooses the frames that get pictures: every step-th of each video, its last one, and those wanted.

    Example:
        >>> [rows.tolist() for rows in kept_frames([5, 4], wanted=[6], step=3)]
        [[0, 3, 4], [0, 1, 3]]
    """
    starts = np.concatenate([[0], np.cumsum(counts)])
    kept = []
    for first, count in zip(starts, counts, strict=False):
        rows = {*range(0, count, step), *([count - 1] if count else [])}
        rows |= {int(frame - first) for frame in wanted if first <= frame < first + count}
        kept.append(np.array(sorted(rows), np.int64))
    return kept


def choose_plan(layers: Sequence[Layer], frames: int, budget: int) -> SpritePlan:
    """Chooses the best quality at which all frames fit, or else the smallest step, by encoding a few sheets.

    Returns:
        The plan; what it takes in the end may differ from what the sample says.
    """
    needed = 0.0
    for quality in QUALITIES:
        needed = sum(_bytes_a_tile(layer, quality) for layer in layers) * frames
        if needed <= budget:
            return SpritePlan(1, quality)
    step = max(2, -(-int(needed) // max(budget, 1)))
    return SpritePlan(step, QUALITIES[-1])


def _bytes_a_tile(layer: Layer, quality: int) -> float:
    firsts = np.linspace(0, max(len(layer.tiles) - TILES, 0), SAMPLED_SHEETS).astype(int)
    samples = [layer.tiles[first : first + TILES] for first in firsts]
    sizes = [len(_encode(sample, layer.quality(quality))) for sample in samples]
    return sum(sizes) / sum(len(sample) for sample in samples)


def _jobs(
    layers: Sequence[Layer], kept: Sequence[NDArray[np.int64]], starts: NDArray[np.int64]
) -> Iterator[tuple[Layer, int, int, NDArray[np.int64]]]:
    for video, rows in enumerate(kept):
        for layer in layers:
            for number, first in enumerate(range(0, len(rows), TILES)):
                yield layer, video, number, starts[video] + rows[first : first + TILES]


def _encode(tiles: NDArray[np.uint8], quality: int) -> str:
    done, encoded = cv2.imencode(".webp", lay_out(tiles), [cv2.IMWRITE_WEBP_QUALITY, quality])
    assert done
    return base64.b64encode(encoded.tobytes()).decode()
