from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from mnad.errors import ConfigError, DataError
from mnad.measurements import Measurements
from mnad.metrics import abnormality, evaluate
from mnad.scoring import psnr

RANDOM = np.random.default_rng(0)


def measurements(videos: int = 3, frames: int = 20, *, memory: bool = True) -> Measurements:
    count = videos * frames
    mse = RANDOM.uniform(1e-4, 1e-2, count)
    return Measurements(
        videos=tuple(f"{index + 1:02d}" for index in range(videos)),
        video=np.repeat(np.arange(videos), frames),
        frame=np.tile(np.arange(frames), videos),
        mse=mse,
        psnr=psnr(mse),
        distance=RANDOM.uniform(0, 1, count) if memory else np.full(count, np.nan),
        update_error=mse,
        updated=mse < 1e-3,
        nearest=np.full((count, 10 if memory else 0), 2, np.int32),
        labels=RANDOM.uniform(size=count) < 0.4,
        protocol={"task": "prediction", "memory": memory},
    )


@pytest.mark.parametrize("weight", [0.0, 0.6, 1.0])
def test_equation_5(weight: float) -> None:
    m = measurements()
    scores = abnormality(m, weight)
    for video in range(3):
        frames = np.flatnonzero(m.video == video)
        p, d = m.psnr[frames], m.distance[frames]
        for k in frames:
            g_p = (m.psnr[k] - p.min()) / (p.max() - p.min())
            g_d = (m.distance[k] - d.min()) / (d.max() - d.min())
            assert scores[k] == pytest.approx(weight * (1 - g_p) + (1 - weight) * g_d)


def test_auc_is_the_share_of_pairs_in_order() -> None:
    m = measurements()
    assert m.labels is not None
    scores = abnormality(m, 0.6)
    abnormal, normal = scores[m.labels], scores[~m.labels]
    pairs = (abnormal[:, None] > normal).mean() + 0.5 * (abnormal[:, None] == normal).mean()
    evaluation = evaluate(m)
    assert evaluation.auc == pytest.approx(pairs)
    assert (evaluation.score_weight, evaluation.normalisation) == (0.6, "per-video")
    assert evaluation.frames == 60
    assert evaluation.updates == m.updated.sum()


def test_videos_of_one_kind_are_left_out_of_the_mean() -> None:
    m = measurements()
    assert m.labels is not None
    m.labels[m.video == 1] = True
    evaluation = evaluate(m)
    assert evaluation.auc_by_video["02"] is None
    others = [evaluation.auc_by_video["01"], evaluation.auc_by_video["03"]]
    assert evaluation.macro_auc == pytest.approx(np.mean(others))


def test_a_constant_distance_counts_as_nothing_and_says_so() -> None:
    m = measurements()
    m.distance[m.video == 1] = 0.25
    with pytest.warns(UserWarning, match="distance D of video 02 is constant"):
        scores = abnormality(m, 0.6)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[m.video == 1], 0.6 * abnormality(m, 1.0)[m.video == 1])


def test_without_memory_only_psnr_counts() -> None:
    m = measurements(memory=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation = evaluate(m, 0.3)
    assert evaluation.score_weight == 1
    assert evaluation.auc == evaluate(m).auc


def test_a_perfect_frame_is_not_infinitely_good() -> None:
    assert np.isfinite(psnr(np.array([0.0, 1e-9]))).all()
    m = measurements(1)
    m.mse[3] = 0
    scores = abnormality(replace(m, psnr=psnr(m.mse)), 1.0)
    assert np.isfinite(scores).all()
    assert scores[3] == 0


def test_bad_input() -> None:
    m = measurements()
    with pytest.raises(DataError, match="carry no labels"):
        evaluate(replace(m, labels=None))
    with pytest.raises(DataError, match="all 60 scored frames are normal"):
        evaluate(replace(m, labels=np.zeros(60, bool)))
    with pytest.raises(ConfigError, match="lambda must lie between 0 and 1, got 2"):
        evaluate(m, 2)
    m.psnr[7] = np.nan
    with pytest.raises(DataError, match="PSNR of video 01 is not finite in 1 frames"):
        evaluate(m)
