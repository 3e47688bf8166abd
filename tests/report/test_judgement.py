from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mnad.artifacts.measurements import load_measurements, save_measurements
from mnad.pipeline.evaluate import EvaluateConfig
from mnad.report.gallery import APART, MOST, choose_moments, first_to_show
from mnad.report.judgement import judge
from mnad.runtime.errors import ConfigError, DataError
from sklearn.metrics import roc_auc_score

from tests.report.samples import judged, write_run

pytestmark = pytest.mark.filterwarnings("ignore:no pixel AUC")


def test_alarms_are_the_frames_above_the_threshold(by_hand: Path) -> None:
    _, judgement = judged(by_hand)
    for video in judgement.videos:
        alarming = {row for alarm in video.alarms for row in range(alarm.first, alarm.last + 1)}
        assert alarming == set(np.flatnonzero(judgement.scores[video.rows] > judgement.threshold).tolist())
        labelled = {row for event in video.labelled for row in range(event.first, event.last + 1)}
        assert judgement.measurements.labels is not None
        assert labelled == set(np.flatnonzero(judgement.measurements.labels[video.rows]).tolist())


def test_metrics_of_the_videos_add_up_to_those_of_the_evaluation(by_hand: Path) -> None:
    _, judgement = judged(by_hand)
    metrics = judgement.detection.metrics
    assert metrics is not None
    assert sum(video.caught for video in judgement.videos) == metrics.events_found == 2
    assert sum(len(video.labelled) for video in judgement.videos) == metrics.events == 2
    assert sum(video.false_alarms for video in judgement.videos) == metrics.false_alarms
    assert sum(len(video.alarms) for video in judgement.videos) == len(judgement.detection.alarms)


def test_curves_and_the_dot_on_them(by_hand: Path) -> None:
    _, judgement = judged(by_hand)
    labels, scores = judgement.measurements.labels, judgement.scores
    assert labels is not None
    false_alarms, found = judgement.roc()
    assert np.trapezoid(found, false_alarms) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    recall, precision = judgement.precision_recall()
    assert (np.diff(recall) >= 0).all()
    false_alarm_rate, at_recall, at_precision = judgement.frames_above()
    assert np.hypot(false_alarms - false_alarm_rate, found - at_recall).min() < 0.01
    assert np.hypot(recall - at_recall, precision - at_precision).min() < 1e-12


@pytest.mark.parametrize(
    ("options", "labelled", "words"),
    [
        ({}, True, "equal error rate, chosen on the test labels"),
        ({}, False, "exceeded by 5% of these very frames"),
        ({"threshold": 0.7}, True, "given"),
        ({"threshold": 0.7}, False, "given"),
    ],
)
def test_the_threshold_says_where_it_comes_from(
    options: dict[str, float], labelled: bool, words: str, tmp_path: Path
) -> None:
    _, judgement = judged(write_run(tmp_path / "run", labelled=labelled), **options)
    assert judgement.threshold_rule.startswith(words)
    assert judgement.threshold == pytest.approx(options.get("threshold", judgement.threshold))
    assert (judgement.evaluation is not None) == labelled
    if not labelled and not options:
        assert np.mean(judgement.scores > judgement.threshold) == pytest.approx(0.05, abs=0.01)


def test_labels_of_one_kind_are_no_labels_to_evaluate_by(by_hand: Path, tmp_path: Path) -> None:
    run = shutil.copytree(by_hand, tmp_path / "run")
    measurements = load_measurements(run)
    save_measurements(run / "measurements.npz", replace(measurements, labels=np.zeros(len(measurements), bool)))
    _, judgement = judged(run)
    assert judgement.evaluation is None
    assert all(not video.labelled for video in judgement.videos)


def test_a_label_file_of_one_kind_is_none_to_evaluate_by(synthetic: Path, trained: Path, tmp_path: Path) -> None:
    """And none is an error: alarms can be had without."""
    labels = tmp_path / "normal.npy"
    np.save(labels, np.zeros(120, bool))
    judgement = judge(EvaluateConfig(trained, labels=str(labels), data=synthetic))
    assert judgement.evaluation is None
    assert judgement.threshold_rule.startswith("exceeded by 5%")


def test_options_of_the_evaluation_count(by_hand: Path) -> None:
    _, whole = judged(by_hand, score_weight=1.0)
    _, part = judged(by_hand, score_weight=0.0)
    assert not np.allclose(whole.scores, part.scores)
    with pytest.raises(DataError, match="holds no calibration"):
        judged(by_hand, threshold="calibrated")
    with pytest.raises(ConfigError, match="lambda"):
        judged(by_hand, score_weight=2.0)


def test_the_gallery_shows_the_worst_apart(by_hand: Path) -> None:
    _, judgement = judged(by_hand, threshold=0.5)
    m, labels = judgement.measurements, judgement.measurements.labels
    assert labels is not None
    false_alarms, misses = choose_moments(judgement)
    for group, kind, sign in ((false_alarms, ~labels, 1), (misses, labels, -1)):
        rows = list(group.rows)
        assert len(rows) <= MOST
        assert all(kind[row] and sign * judgement.scores[row] > sign * 0.5 for row in rows)
        assert sorted(rows, key=lambda row: -sign * judgement.scores[row]) == rows
        for one in rows:
            near = (m.video == m.video[one]) & (np.abs(m.frame - m.frame[one]) < APART)
            assert [other for other in rows if near[other]] == [one]
        chosen = np.flatnonzero(kind & (sign * judgement.scores > sign * 0.5))
        if len(chosen):
            assert rows[0] == chosen[np.argmax(sign * judgement.scores[chosen])]


def test_it_opens_with_the_clearest_anomaly(by_hand: Path) -> None:
    _, judgement = judged(by_hand)
    labels = judgement.measurements.labels
    assert labels is not None
    row = first_to_show(judgement)
    assert labels[row]
    assert judgement.scores[row] == judgement.scores[labels].max()
