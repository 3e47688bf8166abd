"""Normalisation, Eq. 5 and smoothing against literal versions, and where they are degenerate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mnad.evaluation import (
    Bounds,
    Locality,
    Scaling,
    Smoothing,
    abnormality,
    bounds_of,
    evaluate,
    localised,
    smooth,
    sweep,
)
from mnad.measuring import psnr
from mnad.runtime.errors import ConfigError, DataError

from tests.evaluation.samples import measurements


@pytest.mark.parametrize("weight", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("name", ["per-video", "global", "train", "causal"])
def test_equation_5(name: str, weight: float) -> None:
    m, training = measurements(), measurements(seed=1)
    scaling = Scaling(name, bounds_of(training) if name == "train" else None)  # type: ignore[arg-type]
    scores = abnormality(m, weight, scaling)
    for k in range(len(m)):
        own = m.video == m.video[k]
        looked_at = {
            "per-video": (m, own),
            "global": (m, np.ones(len(m), bool)),
            "train": (training, np.ones(len(training), bool)),
            "causal": (m, own & (np.arange(len(m)) <= k)),
        }
        source, frames = looked_at[name]
        p, d = source.psnr[frames], source.distance[frames]
        if len(p) == 1:
            assert scores[k] == 0  # the first frame of a video has no past
            continue
        g_p = (m.psnr[k] - p.min()) / (p.max() - p.min())
        g_d = (m.distance[k] - d.min()) / (d.max() - d.min())
        assert scores[k] == pytest.approx(weight * (1 - g_p) + (1 - weight) * g_d, abs=1e-12)


def test_left_alone_it_is_the_published_protocol() -> None:
    m = measurements()
    evaluation = evaluate(m)
    assert (evaluation.score_weight, evaluation.normalisation) == (0.6, "per-video")
    assert (evaluation.choices.smoothing, evaluation.choices.score_weight_source) == ("none", "published")
    np.testing.assert_array_equal(abnormality(m), abnormality(m, 0.6, Scaling("per-video"), Smoothing("none")))
    assert evaluate(m, 0.6).choices.score_weight_source == "given"


@pytest.mark.parametrize("name", ["per-video", "causal"])
def test_what_is_constant_adds_nothing_and_says_so(name: str) -> None:
    m = measurements()
    m.distance[m.video == 1] = 0.25
    with pytest.warns(UserWarning, match="distance D of video 02 is constant"):
        scores = abnormality(m, 0.6, Scaling(name))  # type: ignore[arg-type]
    np.testing.assert_allclose(
        scores[m.video == 1],
        0.6 * abnormality(m, 1.0, Scaling(name))[m.video == 1],  # type: ignore[arg-type]
    )
    m.psnr[m.video != 0] = 30
    with (
        pytest.warns(UserWarning, match="distance D of video 02 is constant"),
        pytest.warns(UserWarning, match="PSNR of video 02, 03 is constant"),
    ):
        scores = abnormality(m, 0.6, Scaling(name))  # type: ignore[arg-type]
    assert np.isfinite(scores).all()
    assert (scores[m.video == 1] == 0).all()
    assert scores[m.video == 2].max() > 0


def test_rounding_errors_are_no_signal() -> None:
    m = measurements((20, 20))
    m.distance[m.video == 0] = 0.25 * (1 + 1e-8 * np.arange(20))
    with pytest.warns(UserWarning, match="distance D of video 01 is constant"):
        assert (abnormality(m, 0.0)[m.video == 0] == 0).all()


@pytest.mark.parametrize("scaling", [Scaling("global"), Scaling("train", Bounds((30.0, 30.0), (0.5, 0.5)))])
def test_a_collapsed_memory_everywhere(scaling: Scaling) -> None:
    m = measurements()
    m.psnr[:], m.distance[:] = 30, 0.5
    with (
        pytest.warns(UserWarning, match="PSNR of the frames that it is scaled by is constant"),
        pytest.warns(UserWarning, match="distance D of the frames that it is scaled by is constant"),
    ):
        scores = abnormality(m, 0.6, scaling)
    assert (scores == 0).all()


@pytest.mark.parametrize("name", ["per-video", "global", "causal"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_videos_of_one_frame_and_of_none(name: str) -> None:
    m = measurements((1, 20, 0, 1))
    for smoothing in (Smoothing("none"), Smoothing("gaussian", 3), Smoothing("median", 5), Smoothing("causal", 4)):
        scores = abnormality(m, 0.6, Scaling(name), smoothing)  # type: ignore[arg-type]
        assert np.isfinite(scores).all()
        evaluation = evaluate(m, 0.6, Scaling(name), smoothing)  # type: ignore[arg-type]
        assert [evaluation.auc_by_video[video] for video in ("01", "03", "04")] == [None] * 3


def test_a_perfect_frame_is_not_infinitely_good() -> None:
    assert np.isfinite(psnr(np.array([0.0, 1e-9]))).all()
    m = measurements((20,))
    m.mse[3] = 0
    scores = abnormality(replace(m, psnr=psnr(m.mse)), 1.0)
    assert np.isfinite(scores).all()
    assert scores[3] == 0


def test_smoothing_against_literal_versions() -> None:
    m = measurements((9, 14))
    scores = abnormality(m, 0.6)
    for name, width in (("gaussian", 2), ("median", 5), ("causal", 4)):
        smoothed = smooth(scores, m.video, Smoothing(name, width))  # type: ignore[arg-type]
        for video in (0, 1):
            own = scores[m.video == video]
            mirrored = np.concatenate([own[::-1], own, own[::-1]])
            n = len(own)
            for k in range(n):
                around = mirrored[n + k - 8 : n + k + 9]
                weights = np.exp(-0.5 * (np.arange(-8, 9) / 2) ** 2)
                literal = {
                    "gaussian": (weights * around).sum() / weights.sum(),
                    "median": np.median(mirrored[n + k - 2 : n + k + 3]),
                    "causal": own[max(0, k - 3) : k + 1].mean(),
                }
                assert smoothed[m.video == video][k] == pytest.approx(literal[name], abs=1e-12)


def test_smoothing_does_not_reach_over_frames_that_were_left_out() -> None:
    m = measurements((9,))
    kept = np.delete(np.arange(9), 4)
    m = replace(m, **{name: getattr(m, name)[kept] for name in ("video", "frame", "mse", "psnr", "distance", "labels")})
    assert m.stretch.tolist() == [0] * 4 + [1] * 4
    assert measurements((3, 1)).stretch.tolist() == [0, 0, 0, 1]
    scores, smoothed = abnormality(m, 0.6), abnormality(m, 0.6, smoothing=Smoothing("causal", 3))
    assert smoothed[4] == scores[4]
    assert smoothed[5] == pytest.approx(scores[4:6].mean())


@pytest.mark.parametrize(
    "smoothing", [Smoothing(), Smoothing("gaussian", 2), Smoothing("median", 3), Smoothing("causal")]
)
@pytest.mark.parametrize("name", ["per-video", "global", "causal"])
def test_the_sweep_equals_single_evaluations(name: str, smoothing: Smoothing) -> None:
    m, scaling = measurements(), Scaling(name)  # type: ignore[arg-type]
    swept = sweep(m, scaling, smoothing)
    assert len(swept.weights) == 101
    for weight, auc in zip(swept.weights, swept.aucs, strict=True):
        assert auc == pytest.approx(evaluate(m, weight, scaling, smoothing).auc, abs=1e-12)
    assert swept.best_auc == max(swept.aucs)
    assert swept.best_weight == swept.weights[swept.aucs.index(swept.best_auc)]


def test_a_model_without_memory_has_no_lambda() -> None:
    m = measurements(memory=False)
    assert evaluate(m).score_weight == 1
    assert evaluate(m).choices.score_weight_source == "no memory"
    assert evaluate(m, 1.0).auc == evaluate(m).auc
    with pytest.raises(ConfigError, match="lambda must be 1 for a model without memory, got 0.3"):
        evaluate(m, 0.3)
    with pytest.raises(ConfigError, match="no lambda to sweep over"):
        sweep(m)


def test_the_larger_part_may_count() -> None:
    m = measurements()
    larger = np.maximum(abnormality(m, 1), abnormality(m, 0))
    np.testing.assert_array_equal(abnormality(m, "max"), larger)
    assert evaluate(m, "max").choices.score_weight == "max"
    without = measurements(memory=False)
    np.testing.assert_array_equal(abnormality(without, "max"), abnormality(without, 1))


def test_any_number_is_a_lambda() -> None:
    m = measurements()
    for weight in (np.float32(0.5), np.int64(1), 0):
        assert np.isfinite(abnormality(m, weight)).all()  # type: ignore[arg-type]


def test_a_part_of_the_frame_is_scored_by_its_own_measurements() -> None:
    m = measurements()
    for relative in (False, True):
        local = localised(m, Locality("box-5", relative))
        p = (m.relative_psnr if relative else m.local_psnr)[:, 1]
        of_part = replace(m, psnr=p)
        np.testing.assert_array_equal(abnormality(local, 0.3), abnormality(of_part, 0.3))
        assert evaluate(local, 0.3).choices.locality == Locality("box-5", relative)
    assert localised(m, Locality()) is m
    without = replace(measurements(memory=False), relative_psnr=np.full_like(m.relative_psnr, np.nan))
    with pytest.raises(DataError, match="measured without knowing what is usual at their place"):
        localised(without, Locality("box-5", relative=True))
    with pytest.raises(ConfigError, match="relative is of places in the frame"):
        Locality(relative=True)
    with pytest.raises(DataError, match="measured with the poolings box-3, not with box-5; score again"):
        localised(replace(m, poolings=("box-3",)), Locality("box-5"))
    with pytest.raises(DataError, match=r"local_psnr has the shape \(60, 3\), not \(60, 7\)"):
        evaluate(replace(m, local_psnr=m.local_psnr[:, :3]))


def test_bad_choices() -> None:
    m = measurements()
    for weight in (2, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="lambda must lie between 0 and 1"):
            evaluate(m, weight)
    with pytest.raises(ConfigError, match="normalisation train needs the bounds"):
        Scaling("train")
    with pytest.raises(ConfigError, match="normalisation causal takes no bounds"):
        Scaling("causal", bounds_of(m))
    with pytest.raises(ConfigError, match="they cannot scale the distance D"):
        evaluate(m, 0.6, Scaling("train", bounds_of(measurements(memory=False))))
    with pytest.raises(ConfigError, match="smoothing_width must be at least 1"):
        Smoothing("gaussian", 0)
    with pytest.raises(ConfigError, match="must be odd for median, got 4"):
        Smoothing("median", 4)


def test_a_diverged_model() -> None:
    m = measurements()
    m.psnr[[7, 9]] = np.nan
    with pytest.raises(DataError, match="PSNR of video 01 is not finite in 2 frames"):
        evaluate(m)
    m = measurements()
    m.distance[45] = np.inf
    with pytest.raises(DataError, match="distance D of video 03 is not finite in 1 frames"):
        evaluate(m)
    with pytest.raises(DataError, match="distance D of video 03"):
        bounds_of(m)
