"""Zones: where alarms are not wanted, or where alone they are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mnad.measuring.options import InferenceOptions
from mnad.measuring.pooling import LOCAL_POOLINGS, Pooling, pool, pool_within
from mnad.runtime.errors import ConfigError
from mnad.watching.streams import Region
from mnad.watching.watched_model import WatchedModel
from mnad.watching.zones import Zone, region_of, zone_at

LEFT = Zone(((0, 0), (0.5, 0), (0.5, 1), (0, 1)), "left")
DOOR = Zone(((0.1, 0.1), (0.4, 0.1), (0.4, 0.4), (0.1, 0.4)), "door")


def test_a_polygon_covers_the_cells_within_it() -> None:
    triangle = Zone(((0, 0), (1, 0), (0, 1)))
    cells = triangle.cells(64)
    assert cells.mean() == pytest.approx(0.5, abs=0.02)
    assert cells[0, 0]
    assert not cells[63, 63]


def test_only_and_ignored_zones_make_a_region() -> None:
    region = region_of([LEFT, Zone(DOOR.polygon, "tree", "ignore")], 64, 16)
    assert region is not None
    expected = LEFT.cells(64) & ~DOOR.cells(64)
    np.testing.assert_array_equal(region.places.numpy(), expected)
    assert region.queries.shape == (16, 16)
    assert region_of([], 64, 16) is None


def test_the_zone_of_a_place_is_named() -> None:
    zones = [Zone(DOOR.polygon, "tree", "ignore"), LEFT]
    assert zone_at(zones, (12, 12), 64) == "left"
    assert zone_at(zones, (12, 50), 64) == ""


@pytest.mark.parametrize(
    ("polygon", "words"),
    [
        (((0, 0), (1.2, 0), (1, 1)), r"corner \(1.2, 0\) outside of the picture"),
        (((0, 0), (1, 1)), "three corners or more, got 2"),
        (((0, 0), (float("nan"), 0), (1, 1)), "outside of the picture"),
    ],
)
def test_a_zone_that_is_none_is_refused(polygon: tuple[tuple[float, float], ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Zone(polygon, "door")


def test_zones_that_leave_nothing_are_refused() -> None:
    whole = Zone(((0, 0), (1, 0), (1, 1), (0, 1)), "all", "ignore")
    with pytest.raises(ConfigError, match="leave nothing of the picture"):
        region_of([whole], 64, 16)


@pytest.mark.parametrize("pooling", LOCAL_POOLINGS)
def test_the_whole_picture_as_a_region_pools_as_without_one(pooling: Pooling) -> None:
    maps = torch.rand(3, 64, 64)
    whole = pool_within(maps, pooling, torch.ones(64, 64, dtype=torch.bool))
    torch.testing.assert_close(whole, pool(maps)[:, LOCAL_POOLINGS.index(pooling)])


def test_what_happens_outside_of_a_zone_is_not_seen(held_out: Path, tmp_path: Path) -> None:
    """A stream with a zone on the left sees a patch there, and none on the right."""
    model = WatchedModel(held_out, tmp_path, InferenceOptions(accelerator="cpu"))
    region = region_of([LEFT], model.grid, model.queries)
    assert region is not None
    model.streams.regions["zoned"] = region
    calm = np.full((32, 32, 3), 90, np.uint8)

    def score(side: slice) -> dict[str, float]:
        shown = cv2.randu(calm.copy(), 0, 1) + calm
        shown[8:24, side] = 255
        for frame in (calm, calm, calm, calm, shown):
            results = model.streams.step({"whole": frame, "zoned": frame})
        found = {name: result.score for name, result in results.items()}
        for name in ("whole", "zoned"):
            model.streams.by_name.pop(name)
        assert all(value is not None for value in found.values())
        return {name: float(value or 0) for name, value in found.items()}

    nothing, left, right = score(slice(0, 0)), score(slice(2, 12)), score(slice(24, 32))
    assert left["zoned"] > nothing["zoned"] + 0.5
    assert right["whole"] > nothing["whole"] + 0.5
    assert right["zoned"] < nothing["zoned"] + 0.1


def test_the_whole_picture_as_a_zone_scores_as_without_one(held_out: Path, tmp_path: Path, synthetic: Path) -> None:
    model = WatchedModel(held_out, tmp_path, InferenceOptions(accelerator="cpu"))
    grid = torch.ones(model.grid, model.grid, dtype=torch.bool)
    model.streams.regions["zoned"] = Region(grid, torch.ones(model.queries, model.queries, dtype=torch.bool))
    folder = min((synthetic / "testing" / "frames").iterdir())
    for path in sorted(folder.iterdir()):
        frame = np.asarray(cv2.imread(str(path)), np.uint8)
        results = model.streams.step({"whole": frame, "zoned": frame})
        if (whole := results["whole"].score) is not None:
            assert results["zoned"].score == pytest.approx(whole, abs=1e-4)
