from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnad.report.sprites import TILES, Layer, Sprites, kept_frames, lay_out, make_sprites, tile_place
from mnad.runtime.errors import OutputError
from numpy.typing import NDArray

from tests.report.samples import level

COUNTS = [150, 5, 0, 64]


def uniform(N: int, side: int = 32, channels: int = 1) -> NDArray[np.uint8]:
    return np.broadcast_to(level(np.arange(N))[:, None, None, None], (N, side, side, channels)).astype(np.uint8)


def tile_of(sprites: Sprites, layer: Layer, video: int, row: int) -> NDArray[np.uint8]:
    """Cuts a frame's picture out of its sheet."""
    number, column, line = tile_place(int(np.flatnonzero(sprites.kept[video] == row)[0]))
    chosen = [s for s in sprites.sheets if (s.layer, s.video, s.number) == (layer.name, video, number)]
    assert len(chosen) == 1
    sheet = cv2.imdecode(np.frombuffer(base64.b64decode(chosen[0].text), np.uint8), cv2.IMREAD_COLOR)
    assert sheet is not None
    h, w = layer.tiles.shape[1:3]
    return sheet[line * h : (line + 1) * h, column * w : (column + 1) * w].astype(np.uint8)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 63, 64])
def test_a_tile_lies_where_its_place_says(n: int) -> None:
    tiles = np.random.default_rng(n).integers(0, 256, (n, 3, 5, 3)).astype(np.uint8)
    sheet = lay_out(tiles)
    assert sheet.shape == (3 * -(-n // 8), 5 * min(n, 8), 3)
    for position, tile in enumerate(tiles):
        _, column, row = tile_place(position)
        assert np.array_equal(sheet[3 * row : 3 * row + 3, 5 * column : 5 * column + 5], tile)


@pytest.mark.parametrize(("channels", "is_map"), [(1, False), (3, False), (1, True)])
def test_every_frame_is_found_in_its_sheet(channels: int, is_map: bool) -> None:
    layer = Layer("target", uniform(sum(COUNTS), channels=channels), is_map)
    sprites = make_sprites([layer], COUNTS, [], 1_000_000, progress=False)
    assert sprites.plan.step == 1
    assert [len(kept) for kept in sprites.kept] == COUNTS
    starts = np.concatenate([[0], np.cumsum(COUNTS)])
    for video, row in [(0, 0), (0, 63), (0, 64), (0, 149), (1, 4), (3, 0), (3, 63)]:
        expected = level(int(starts[video]) + row)
        assert np.abs(tile_of(sprites, layer, video, row).astype(int) - expected).max() <= 3


@pytest.mark.parametrize("side", [4, 16, 40])
def test_tiles_that_would_bleed_are_kept_to_the_bit(side: int) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (20, side, side, 1)).astype(np.uint8)
    layer = Layer("distance", tiles, True)
    sprites = make_sprites([layer], [20], [], 1_000_000, progress=False)
    for row in range(20):
        assert np.array_equal(tile_of(sprites, layer, 0, row), np.repeat(tiles[row], 3, axis=2))


@pytest.mark.parametrize("budget", [400_000, 200_000, 60_000, 20_000])
def test_the_budget_is_kept_and_wanted_frames_stay(budget: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 1)).astype(np.uint8)
    sprites = make_sprites([Layer("target", noise, False)], [200, 100], [7, 201], budget, progress=False)
    assert sprites.size <= budget
    assert {0, 7, 199} <= set(sprites.kept[0].tolist())
    assert {0, 1, 99} <= set(sprites.kept[1].tolist())


def test_a_smaller_budget_costs_quality_first_and_frames_then() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 1)).astype(np.uint8)
    layer = Layer("target", noise, False)
    best = make_sprites([layer], [300], [], 10_000_000, progress=False)
    less = make_sprites([layer], [300], [], round(0.8 * best.size), progress=False)
    least = make_sprites([layer], [300], [], round(0.1 * best.size), progress=False)
    assert (best.plan.step, less.plan.step) == (1, 1)
    assert best.plan.quality > less.plan.quality >= least.plan.quality
    assert least.plan.step > 1


def test_a_hopeless_budget_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 1)).astype(np.uint8)
    with pytest.raises(OutputError, match="allow a larger file"):
        make_sprites([Layer("target", noise, False)], [30], [3, 9], 100, progress=False)


@given(
    counts=st.lists(st.integers(0, 200), min_size=1, max_size=4),
    step=st.integers(1, 250),
    wanted=st.lists(st.integers(0, 799), max_size=5),
)
def test_kept_frames(counts: list[int], step: int, wanted: list[int]) -> None:
    kept = kept_frames(counts, wanted, step)
    starts = np.concatenate([[0], np.cumsum(counts)])
    for first, count, rows in zip(starts[:-1], counts, kept, strict=True):
        assert len(rows) == 0 or (rows[0], rows[-1]) == (0, count - 1)
        assert (len(rows) == 0) == (count == 0)
        assert (np.diff(rows) > 0).all()
        assert (np.diff(rows) <= step).all()
        assert {frame - first for frame in wanted if first <= frame < first + count} <= set(rows.tolist())


def test_places_fill_sheets_in_order() -> None:
    places = [tile_place(position) for position in range(3 * TILES)]
    assert places == sorted(places, key=lambda place: (place[0], place[2], place[1]))
    assert len(set(places)) == len(places)
