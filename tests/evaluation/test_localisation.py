"""The pixel AUC against all pixels put into scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mnad.artifacts.measurements import Measurements
from mnad.data import Clips
from mnad.evaluation import check_same_frames, pixel_metrics
from mnad.runtime.errors import DataError
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tests.evaluation.samples import measurements

FIRST = 4  # frames that a prediction does not restore


def sample(size: int = 16, grid: int = 8, seed: int = 0) -> tuple[Measurements, NDArray[np.float16], Clips]:
    """Three videos of 9 scored frames each, the middle one without masks."""
    random = np.random.default_rng(seed)
    m = measurements((9, 9, 9))
    count = 3 * (9 + FIRST)
    masks = random.uniform(size=(count, size, size)) < random.uniform(0, 0.6, (count, 1, 1))
    starts = np.arange(4) * (9 + FIRST)
    masks[starts[1] : starts[2]] = False
    clips = Clips(
        frames=np.zeros((count, size, size, 1), np.uint8),
        names=m.videos,
        starts=starts,
        labels=None,
        label_source="none",
        packed_masks=np.packbits(masks, axis=-1),
        masked_videos=(True, False, True),
    )
    error = np.round(random.uniform(0, 0.2, (27, grid, grid)), 2).astype(np.float16)
    return m, error, clips


@pytest.mark.parametrize(("size", "grid"), [(16, 8), (16, 16), (24, 10), (40, 16)])
def test_against_all_pixels(size: int, grid: int) -> None:
    m, maps, clips = sample(size, grid)
    metrics = pixel_metrics(m, maps, clips)
    masks = clips.masks()
    assert masks is not None
    labels, scores = [], []
    for row in range(len(m)):
        if m.video[row] == 1:
            continue
        for y in range(size):
            for x in range(size):
                labels.append(masks[clips.starts[m.video[row]] + m.frame[row], y, x])
                scores.append(float(maps[row, y * grid // size, x * grid // size]))
    assert metrics.auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert metrics.abnormal_share == pytest.approx(np.mean(labels))
    assert (metrics.frames, metrics.without_masks) == (18, ("02",))
    assert (metrics.size, metrics.grid) == (size, grid)


def test_a_map_that_is_the_mask_is_perfect() -> None:
    m, maps, clips = sample(16, 16)
    masks = clips.masks()
    assert masks is not None
    frames = np.array([clips.starts[video] + frame for video, frame in zip(m.video, m.frame, strict=True)])
    assert pixel_metrics(m, masks[frames].astype(np.float16), clips).auc == 1
    assert pixel_metrics(m, (~masks[frames]).astype(np.float16), clips).auc == 0
    assert pixel_metrics(m, np.zeros_like(maps), clips).auc == 0.5
    assert pixel_metrics(m, np.full_like(maps, -0.0), clips).auc == 0.5
    # Scores may be below 0.
    assert pixel_metrics(m, np.where(masks[frames], -1, -2).astype(np.float16), clips).auc == 1
    assert pixel_metrics(m, np.where(masks[frames], -1, 1).astype(np.float16), clips).auc == 0


def test_maps_and_data_that_do_not_belong_together() -> None:
    m, maps, clips = sample()
    with pytest.raises(DataError, match="maps are of 26 frames, but 27 were measured"):
        pixel_metrics(m, maps[1:], clips)
    with pytest.raises(DataError, match="no scored video has masks"):
        pixel_metrics(m, maps, replace(clips, packed_masks=None, masked_videos=(False,) * 3))
    assert clips.packed_masks is not None
    with pytest.raises(DataError, match="the masks mark no pixel"):
        pixel_metrics(m, maps, replace(clips, packed_masks=np.zeros_like(clips.packed_masks)))
    broken = maps.copy()
    broken[3, 0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        pixel_metrics(m, broken, clips)


def test_measurements_of_other_data_name_the_video() -> None:
    m, _, clips = sample()
    check_same_frames(m, clips)
    with pytest.raises(DataError, match="the data have no video 03"):
        check_same_frames(m, replace(clips, names=("01", "02", "04")))
    with pytest.raises(DataError, match="video 02 end with frame 12, but the data have 12 frames"):
        check_same_frames(m, replace(clips, starts=np.array([0, 13, 25, 39])))
    longer = replace(clips, names=(*clips.names, "04"), starts=np.array([0, 13, 26, 39, 39]))
    with pytest.raises(DataError, match="they have nothing of video 04"):
        check_same_frames(m, replace(longer, masked_videos=(True,) * 4))
