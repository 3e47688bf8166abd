"""What holds of every evaluation."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mnad.artifacts.measurements import Measurements
from mnad.evaluation import Scaling, Smoothing, abnormality, aucs, bootstrap, evaluate, smooth, sweep

from tests.evaluation.samples import measurements, rows

pytestmark = pytest.mark.filterwarnings("ignore:the :UserWarning")

SMOOTHINGS = [Smoothing(), Smoothing("gaussian", 2), Smoothing("median", 3), Smoothing("causal", 4)]
NAMES = ["per-video", "global", "causal"]
lengths = st.lists(st.integers(0, 15), min_size=2, max_size=5).filter(lambda each: sum(each) > 4)
seeds = st.integers(0, 2**32 - 1)
weights = st.floats(0, 1)


@st.composite
def labelled(draw: st.DrawFn) -> Measurements:
    """Measurements with labels of both kinds, some of them with ties and flat videos."""
    m = measurements(draw(lengths), seed=draw(seeds))
    decimals = draw(st.sampled_from([0, 1, 12]))
    m.psnr[:], m.distance[:] = np.round(m.psnr, decimals), np.round(m.distance, decimals)
    assert m.labels is not None
    m.labels[:2] = [True, False]
    return m


@given(st.lists(st.tuples(st.booleans(), st.integers(-50, 50)), min_size=2, max_size=40), st.integers(0, 3))
def test_auc_is_unchanged_by_monotone_maps(pairs: list[tuple[bool, int]], which: int) -> None:
    labels = np.array([label for label, _ in pairs])
    labels[:2] = [True, False]
    scores = np.array([score for _, score in pairs], np.float64)
    maps = [np.arctan, lambda x: 3 * x - 7, lambda x: x**3, lambda x: np.exp(x / 10)]
    assert aucs(labels, maps[which](scores)) == aucs(labels, scores)
    assert aucs(labels, -scores) == pytest.approx(1 - aucs(labels, scores))


@given(labelled(), seeds, weights, st.sampled_from(NAMES), st.sampled_from(SMOOTHINGS))
@settings(deadline=None)
def test_the_order_of_the_videos_changes_nothing(
    m: Measurements, seed: int, weight: float, name: str, smoothing: Smoothing
) -> None:
    order = np.random.default_rng(seed).permutation(len(m.videos))
    chosen = np.concatenate([np.flatnonzero(m.video == video) for video in order])
    place = np.argsort(order)
    other = replace(rows(m, chosen), videos=tuple(m.videos[video] for video in order))
    other = replace(other, video=place[other.video])
    options = (weight, Scaling(name), smoothing)  # type: ignore[arg-type]
    one, two = evaluate(m, *options).as_dict(), evaluate(other, *options).as_dict()
    assert one == two
    scores, others = abnormality(m, *options), abnormality(other, *options)
    np.testing.assert_array_equal(scores[chosen], others)
    assert bootstrap(m, scores, 20) == bootstrap(other, others, 20)
    assert sweep(m, options[1], smoothing) == sweep(other, options[1], smoothing)


@given(labelled(), seeds, weights, st.integers(1, 6))
@settings(deadline=None)
def test_causal_never_looks_ahead(m: Measurements, seed: int, weight: float, width: int) -> None:
    options = (weight, Scaling("causal"), Smoothing("causal", width))
    before = abnormality(m, *options)
    random = np.random.default_rng(seed)
    cut = int(random.integers(1, len(m)))
    changed = replace(m, psnr=m.psnr.copy(), distance=m.distance.copy())
    changed.psnr[cut:] = random.uniform(0, 100, len(m) - cut)
    changed.distance[cut:] = random.uniform(0, 5, len(m) - cut)
    np.testing.assert_array_equal(abnormality(changed, *options)[:cut], before[:cut])
    np.testing.assert_array_equal(abnormality(rows(m, np.arange(cut)), *options), before[:cut])


def test_the_others_do_look_ahead() -> None:
    m = measurements((30,))
    changed = replace(m, psnr=m.psnr.copy())
    changed.psnr[-1] = 99
    for options in [(1.0, Scaling("per-video"), Smoothing()), (1.0, Scaling("causal"), Smoothing("gaussian", 9))]:
        assert (abnormality(changed, *options)[:-1] != abnormality(m, *options)[:-1]).any()


@given(labelled(), seeds, st.sampled_from(NAMES), st.sampled_from(SMOOTHINGS))
@settings(deadline=None)
def test_lambda_1_is_psnr_alone(m: Measurements, seed: int, name: str, smoothing: Smoothing) -> None:
    other = replace(m, distance=np.random.default_rng(seed).uniform(size=len(m)))
    options = (1.0, Scaling(name), smoothing)  # type: ignore[arg-type]
    np.testing.assert_array_equal(abnormality(m, *options), abnormality(other, *options))
    without = replace(m, distance=np.full(len(m), np.nan), protocol={**m.protocol, "memory": False})
    np.testing.assert_array_equal(abnormality(m, *options), abnormality(without, None, *options[1:]))
    if name == "global" and smoothing.name == "none" and np.ptp(m.psnr) > 0:
        assert evaluate(m, *options).auc == aucs(m.labels, -m.psnr)  # type: ignore[arg-type]


@given(labelled(), weights, st.sampled_from(NAMES), st.sampled_from(SMOOTHINGS))
@settings(deadline=None)
def test_scores_are_finite_and_within_0_and_1(m: Measurements, weight: float, name: str, smoothing: Smoothing) -> None:
    scores = abnormality(m, weight, Scaling(name), smoothing)  # type: ignore[arg-type]
    assert (scores >= 0).all()
    assert (scores <= 1 + 1e-12).all()


@given(lengths, seeds, st.sampled_from(SMOOTHINGS))
@settings(deadline=None)
def test_smoothing_keeps_to_the_video_and_its_range(each: list[int], seed: int, smoothing: Smoothing) -> None:
    m = measurements(each, seed=seed)
    smoothed = smooth(m.psnr, m.video, smoothing)
    for video in set(m.video.tolist()):
        own = m.psnr[m.video == video]
        assert own.min() - 1e-9 <= smoothed[m.video == video].min()
        assert smoothed[m.video == video].max() <= own.max() + 1e-9
        alone = smooth(own, np.zeros(len(own), np.int64), smoothing)
        np.testing.assert_array_equal(smoothed[m.video == video], alone)


def test_nothing_warns_of_measurements_that_vary() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in NAMES:
            evaluate(measurements(), 0.6, Scaling(name))  # type: ignore[arg-type]
