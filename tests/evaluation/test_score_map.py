"""Maps of the score: their largest value is the score of the frame, and it lies where the anomaly is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mnad.artifacts.maps import FrameMaps
from mnad.evaluation import Bounds, Locality
from mnad.evaluation.normalisation import parts_by_bounds
from mnad.evaluation.score_map import ScoreMapping, score_maps
from mnad.evaluation.scores import combine
from mnad.measuring.metrics import psnr
from mnad.measuring.pooling import LOCAL_POOLINGS, Pooling, pool
from mnad.measuring.usual import Usual
from mnad.runtime.errors import DataError

BOUNDS = Bounds((5.0, 30.0), (0.001, 0.01))
CHANNELS = 16


def maps_of(frames: int = 3, grid: int = 64) -> FrameMaps:
    random = np.random.default_rng(0)
    error = random.uniform(0, 0.01, (frames, grid, grid)).astype(np.float16)
    error[:, 20:25, 40:45] = 0.3
    distance = random.uniform(0, 0.05, (frames, 16, 16)).astype(np.float16)
    distance[:, 5, 10] = 0.4
    pictures = np.zeros((frames, 64, 64, 1), np.uint8)
    return FrameMaps(error, distance, pictures, pictures)


@pytest.mark.parametrize("pooling", [name for name in LOCAL_POOLINGS if name.startswith("box-")])
@pytest.mark.parametrize("grid", [64, 32])
def test_the_largest_value_is_the_score(pooling: Pooling, grid: int) -> None:
    maps = maps_of(grid=grid)
    found = ScoreMapping(1, Locality(pooling), BOUNDS, CHANNELS).of(torch.from_numpy(maps.error), None)
    errors = pool(torch.from_numpy(maps.error).float())[:, LOCAL_POOLINGS.index(pooling)]
    expected = combine(parts_by_bounds(psnr(errors.double().numpy()), None, BOUNDS), 1)
    assert found.shape == maps.error.shape
    np.testing.assert_allclose(found.max(axis=(1, 2)), expected, rtol=1e-6)


def test_it_lies_where_the_error_is() -> None:
    found = score_maps(maps_of(), ScoreMapping(1, Locality("box-5"), BOUNDS, CHANNELS))
    assert found.dtype == np.float16
    for frame in found:
        assert np.unravel_index(frame.argmax(), frame.shape) == (22, 42)


def test_the_distance_counts_by_its_weight() -> None:
    maps = maps_of()
    of_distance, larger = (
        score_maps(maps, ScoreMapping(weight, Locality("box-5"), BOUNDS, CHANNELS))  # type: ignore[arg-type]
        for weight in (0, "max")
    )
    for frame in of_distance:
        assert np.unravel_index(frame.argmax(), frame.shape)[0] // 4 == 5
        assert np.unravel_index(frame.argmax(), frame.shape)[1] // 4 == 10
        assert frame.max() == pytest.approx((0.4 / CHANNELS - 0.001) / 0.009, rel=2e-3)
    of_error = score_maps(maps, ScoreMapping(1, Locality("box-5"), BOUNDS, CHANNELS))
    np.testing.assert_allclose(larger, np.maximum(of_error, of_distance), rtol=2e-3)


def test_relative_maps_are_in_relation_to_the_place() -> None:
    maps, usual_error = maps_of(), torch.full((64, 64), -40.0)
    usual_error[20:25, 40:45] = -5.0  # where the error always is
    usual, nothing = Usual(usual_error), Usual(torch.zeros(64, 64))
    found, plain = (
        ScoreMapping(1, Locality("box-5", relative=True), BOUNDS, CHANNELS, each).of(torch.from_numpy(maps.error), None)
        for each in (usual, nothing)
    )
    # A quarter of 40 dB is added everywhere, and a quarter of 5 dB there.
    np.testing.assert_allclose((found - plain)[:, 5, 5], 10 / 25, rtol=1e-5)
    np.testing.assert_allclose((found - plain)[:, 22, 42], 1.25 / 25, rtol=1e-5)


def test_cells_count_by_themselves_where_no_boxes_are_pooled() -> None:
    maps = maps_of()
    found = ScoreMapping(1, Locality("top-1%"), BOUNDS, CHANNELS).of(torch.from_numpy(maps.error), None)
    expected = parts_by_bounds(psnr(maps.error.astype(np.float64).ravel()), None, BOUNDS).psnr
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-5)


def test_what_is_too_large_for_a_map_is_its_largest_value() -> None:
    maps = replace(maps_of(), distance=np.full((3, 16, 16), 4, np.float16))
    narrow = Bounds((5.0, 30.0), (0.001, 0.001001))
    found = score_maps(maps, ScoreMapping("max", Locality("box-5"), narrow, CHANNELS))
    assert np.isfinite(found).all()
    assert (found == np.finfo(np.float16).max).all()


def test_a_distance_that_counts_must_be_there() -> None:
    with pytest.raises(DataError, match="the distance counts in the score, but there are no maps of it"):
        score_maps(replace(maps_of(), distance=None), ScoreMapping("max", Locality("box-5"), BOUNDS, CHANNELS))
