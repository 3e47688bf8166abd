"""Metrics of merit against scikit-learn and against literal versions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mnad.evaluation import abnormality, aucs, average_precision, bootstrap, equal_error_rate, evaluate, pooled_auc
from mnad.runtime.errors import DataError
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from tests.evaluation.samples import measurements, rows


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("decimals", [1, 2, 15])  # few decimals make many ties
def test_figures_against_scikit_learn(seed: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.uniform(size=300) < random.uniform(0.1, 0.9)
    scores = np.round(random.normal(size=300) + labels * random.uniform(0, 2), decimals)
    assert aucs(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == average_precision_score(labels, scores)
    false_alarms, found, _ = roc_curve(labels, scores)
    crossing = brentq(lambda x: 1 - x - interp1d(false_alarms, found)(x), 0, 1)
    eer = equal_error_rate(labels, scores)
    assert eer.rate == pytest.approx(crossing, abs=1e-9)
    above = scores >= eer.threshold
    errors = (above[~labels].mean(), 1 - above[labels].mean())
    others = [abs((scores >= t)[~labels].mean() - 1 + (scores >= t)[labels].mean()) for t in np.unique(scores)]
    assert abs(errors[0] - errors[1]) == pytest.approx(min(others), abs=1e-12)


def test_auc_is_the_share_of_pairs_in_order() -> None:
    m = measurements()
    assert m.labels is not None
    scores = abnormality(m, 0.6)
    abnormal, normal = scores[m.labels], scores[~m.labels]
    pairs = (abnormal[:, None] > normal).mean() + 0.5 * (abnormal[:, None] == normal).mean()
    evaluation = evaluate(m)
    assert evaluation.auc == pytest.approx(pairs)
    assert evaluation.frames == 60
    assert evaluation.updates == m.updated.sum()
    assert evaluation.average_precision == average_precision_score(m.labels, scores)


def test_videos_of_one_kind_are_left_out_of_the_mean() -> None:
    m = measurements()
    assert m.labels is not None
    m.labels[m.video == 1] = True
    evaluation = evaluate(m)
    assert evaluation.auc_by_video["02"] is None
    others = [evaluation.auc_by_video["01"], evaluation.auc_by_video["03"]]
    assert evaluation.macro_auc == pytest.approx(np.mean(others))
    for video in range(3):
        m.labels[m.video == video] = video == 1
    assert evaluate(m).macro_auc is None


@pytest.mark.filterwarnings("ignore:the PSNR of video 04 is constant")
def test_the_bootstrap_draws_videos() -> None:
    m = measurements((10, 30, 25, 1))
    assert m.labels is not None
    m.labels[m.video == 1] = True
    scores = np.round(abnormality(m, 1.0), 1)
    interval = bootstrap(m, scores, 200, seed=3)
    drawn = np.random.default_rng(3).multinomial(4, np.full(4, 0.25), size=200)
    pooled, means = [], []
    for counts in drawn:
        chosen = np.concatenate([np.flatnonzero(m.video == video) for video in np.repeat(np.arange(4), counts)])
        labels = m.labels[chosen]
        own = [evaluate_video(m, scores, video) for video in np.repeat(np.arange(4), counts)]
        defined = [auc for auc in own if auc is not None]
        if defined:
            means.append(np.mean(defined))
        if labels.any() and not labels.all():
            pooled.append(roc_auc_score(labels, scores[chosen]))
    assert interval.without_auc == 200 - len(pooled) > 0
    np.testing.assert_allclose(interval.auc, np.quantile(pooled, [0.025, 0.975]))
    assert interval.macro_auc is not None
    np.testing.assert_allclose(interval.macro_auc, np.quantile(means, [0.025, 0.975]))
    assert bootstrap(m, scores, 200, seed=3) == interval != bootstrap(m, scores, 200, seed=4)


def evaluate_video(m, scores, video):  # type: ignore[no-untyped-def]
    own = m.video == video
    labels = m.labels[own]
    return roc_auc_score(labels, scores[own]) if labels.any() and not labels.all() else None


def test_without_labels_or_with_one_kind() -> None:
    m = measurements()
    with pytest.raises(DataError, match="carry no labels"):
        evaluate(replace(m, labels=None))
    with pytest.raises(DataError, match="all 60 scored frames are normal"):
        evaluate(replace(m, labels=np.zeros(60, bool)))
    with pytest.raises(DataError, match="no AUC exists"):
        pooled_auc(m, m.psnr, np.zeros(60, bool))
    with pytest.raises(DataError, match="labels of both kinds"):
        bootstrap(replace(m, labels=np.ones(60, bool)), m.psnr, 10)


def test_measurements_that_contradict_themselves() -> None:
    m = measurements()
    assert m.labels is not None
    with pytest.raises(DataError, match="57 labels for 60 measured frames: they do not fit from video 03 on"):
        evaluate(replace(m, labels=m.labels[:-3]))
    with pytest.raises(DataError, match="of 60 frames, but psnr has 59"):
        evaluate(replace(m, psnr=m.psnr[1:]))
    evaluate(rows(m, np.delete(np.arange(60), 25)))  # a frame that could not be read
    with pytest.raises(DataError, match="video 02 are not frames in their order"):
        evaluate(replace(m, frame=np.where(np.arange(60) == 25, m.frame - 1, m.frame)))
    with pytest.raises(DataError, match="video 03 are not frames in their order"):
        evaluate(rows(m, np.roll(np.arange(60), 5)))
    with pytest.raises(DataError, match="count their videos wrongly"):
        evaluate(replace(m, videos=m.videos[:2]))
    with pytest.raises(DataError, match="none at all"):
        evaluate(rows(m, np.arange(0)))
