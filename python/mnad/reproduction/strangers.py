"""Scores on scenes of real cameras, each by one scale for all videos and past frames alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.data.composed import EVENTS, PlannedEvent
from mnad.evaluation import Locality, Scaling, bounds_of, localised, pooled_auc
from mnad.evaluation.localisation import pixel_metrics
from mnad.evaluation.locality import WHOLE_FRAME
from mnad.evaluation.score_map import ScoreMapping, channels_of, score_maps
from mnad.evaluation.scores import CAMERA, Scoring, scores_by
from mnad.measuring.pooling import LOCAL_POOLINGS
from mnad.reproduction.aucs import over_seeds
from mnad.reproduction.results import Result, Value
from mnad.reproduction.runner import Part, Runner
from mnad.reproduction.scenes import Scene, SceneMeasurements, find_scenes, measure_scene, measured

Scores = NDArray[np.float64]
Metrics = dict[str, float | None]
# By scene, then by choice.
Candidates = dict[str, dict[str, dict[str, Value]]]

RELATIVE = Locality(CAMERA.locality.pooling, relative=True)
SCORES = {
    "published": Scoring(),
    "PSNR of the frame": Scoring(1),
    "D of the frame": Scoring(0),
    "for cameras": CAMERA,
    "for cameras, P alone": CAMERA._replace(score_weight=1),
    "for cameras, D alone": CAMERA._replace(score_weight=0),
    "for cameras, relative": CAMERA._replace(locality=RELATIVE),
}
LAMBDAS = {f"{weight}": CAMERA._replace(score_weight=weight) for weight in (0, 0.2, 0.4, 0.6, 0.8, 1, "max")}
# Of each of these the one that serves the other scenes best: chosen by none of the scene's own labels.
LEFT_OUT: dict[str, dict[str, Scoring]] = {
    "for cameras, part chosen on other scenes": {
        name: CAMERA._replace(locality=Locality(name)) for name in ("mean", *LOCAL_POOLINGS)
    },
    "for cameras, lambda chosen on other scenes": LAMBDAS,
}
WANTED = "medium and large"
NOTES = [
    "AUC in per cent over all frames of a scene, by scores that held-out normal video alone scales and that look at no "
    "frame to come: not to be compared with published AUCs. 'published' is the published score on that scale. 'for "
    "cameras' is the default of mnad calibrate; 'relative' counts errors in relation to what is usual at their place.",
    "The default's part of the frame and its lambda were chosen with labels of some scenes in view. What is 'chosen on "
    "other scenes' is what has the highest mean AUC on all of these.",
    "In the scenes whose events are composed, 'medium and large' are the frames with objects of these sizes, and each "
    "column of a kind the frames of that kind, against all normal frames of the scene. An event of a medium or large "
    "object is found if one of its frames is above the highest score of held-out normal video; 'false' are the frames "
    "above it in normal video that was used for nothing else. The mean is that of these scenes. The pixel AUC is of "
    "the maps from which the score comes.",
]


def parts(runner: Runner, seeds: Sequence[int]) -> list[Part]:
    """Returns the parts of the work: to train and to measure a model of each scene with each seed."""

    def part(scene: Scene, seed: int) -> bool:
        return measure_scene(runner, scene, seed, wait=False) is not None

    return [partial(part, scene, seed) for scene in find_scenes(runner) for seed in seeds]


def strangers(runner: Runner, seeds: Sequence[int], _: Path) -> Result:
    """Tabulates what each score finds in each scene."""
    rows: list[dict[str, Value]] = []
    candidates: dict[str, Candidates] = {name: {} for name in LEFT_OUT}
    for scene in find_scenes(runner):
        of_seeds = [measured(runner, scene, seed) for seed in seeds]
        for name, score in SCORES.items():
            each = [_metrics(scene, found, score) for found in of_seeds]
            rows.append({"scene": scene.name, "score": name, **_over_seeds(each)})
        for name, scorings in LEFT_OUT.items():
            candidates[name][scene.name] = {
                choice: _over_seeds([aucs_of(scene, found, scoring) for found in of_seeds])
                for choice, scoring in scorings.items()
            }
    for name, of_scenes in candidates.items():
        rows += left_out_rows(name, of_scenes)
    if "strangers" in runner.data:
        names = dict.fromkeys(row["score"] for row in rows)
        rows += [_mean_row(name, [row for row in rows if row["score"] == name]) for name in names]
    missing = [] if "strangers" in runner.data else ["strangers' scenes, as no folder of clips was given"]
    return Result(
        "strangers",
        "one scale for all videos, past frames alone",
        rows,
        NOTES,
        missing=missing,
        provenance={"scale": runner.scale.describe_camera()},
    )


def _scaled(measurements: Measurements, held_out: Measurements, scoring: Scoring) -> Scores:
    """Returns the score of each frame, scaled by what was held out."""
    bounds = bounds_of(localised(held_out, scoring.locality))
    return scores_by(measurements, scoring, Scaling("calibrated", bounds))


def _metrics(scene: Scene, found: SceneMeasurements, scoring: Scoring) -> Metrics:
    test, scores = found.test, _scaled(found.test, found.held_out, scoring)
    values = aucs_of(scene, found, scoring)
    maps = _maps(found, scoring)
    if maps is not None and any(found.clips.masked_videos):
        values["pixel AUC"] = 100 * pixel_metrics(test, maps, found.clips).auc
    if not scene.events:
        return values
    threshold = float(_scaled(found.held_out, found.held_out, scoring).max())
    events = [scene.events[name] for name in test.videos]
    values |= _found(test, scores > threshold, events)
    return values | {
        str(wanted): _auc(test, scores, _of(test, [event == wanted for event in events])) for wanted in EVENTS
    }


def aucs_of(scene: Scene, found: SceneMeasurements, scoring: Scoring) -> Metrics:
    """Returns the AUC of all frames and, where events are composed, that of the objects which are to be found."""
    test, scores = found.test, _scaled(found.test, found.held_out, scoring)
    values: Metrics = {"AUC": 100 * pooled_auc(test, scores)}
    if scene.events:
        values[WANTED] = _auc(test, scores, _of(test, [_is_wanted(scene.events[name]) for name in test.videos]))
    return values


def headline_column(aucs: Mapping[str, object]) -> str:
    """Names the AUC by which scores are compared: of the objects which are to be found, or of all frames."""
    return WANTED if WANTED in aucs else "AUC"


def _headline(aucs: Mapping[str, Value]) -> float:
    value = aucs[headline_column(aucs)]
    assert isinstance(value, float)
    return value


def left_out_rows(name: str, of_scenes: Candidates) -> list[dict[str, Value]]:
    """Returns for each scene the AUCs of the choice that is best on average in the other scenes; nothing of one scene.

    Args:
        name: Of the score.
        of_scenes: The AUCs of each scene by each choice.
    """
    rows: list[dict[str, Value]] = []
    for scene, by_choice in of_scenes.items():
        others = [each for other, each in of_scenes.items() if other != scene]
        if others:
            choice = max(by_choice, key=lambda each: mean(_headline(other[each]) for other in others))
            rows.append({"scene": scene, "score": name, **by_choice[choice], "chosen": choice})
    return rows


def _maps(found: SceneMeasurements, scoring: Scoring) -> NDArray[np.float16] | None:
    """Returns where in the frames a score comes from; None for one of the whole frame in which D counts."""
    if scoring.locality == WHOLE_FRAME:
        return found.maps.error if scoring.score_weight == 1 else None
    assert scoring.score_weight is not None
    usual = found.usual if scoring.locality.relative else None
    bounds = bounds_of(localised(found.held_out, scoring.locality))
    mapping = ScoreMapping(scoring.score_weight, scoring.locality, bounds, channels_of(found.test), usual)
    return score_maps(found.maps, mapping)


def _is_wanted(event: PlannedEvent | None) -> bool:
    return event is not None and event.size in ("medium", "large")


def _of(test: Measurements, videos: Sequence[bool]) -> NDArray[np.bool_]:
    """Returns which frames are of some of the videos, (N,)."""
    chosen: NDArray[np.bool_] = np.array(videos)[test.video]
    return chosen


def _auc(test: Measurements, scores: Scores, of_kind: NDArray[np.bool_]) -> float | None:
    """Returns the AUC in per cent of the abnormal frames of a kind against all normal ones; None if there are none."""
    assert test.labels is not None
    chosen = ~test.labels | of_kind
    return 100 * pooled_auc(test, scores, chosen) if test.labels[chosen].any() else None


def _found(test: Measurements, above: NDArray[np.bool_], events: Sequence[PlannedEvent | None]) -> Metrics:
    """Counts the events that are found, and the frames that are above the threshold where nothing happens."""
    assert test.labels is not None
    mine = [test.video == index for index in range(len(events))]
    wanted = [frames & test.labels for frames, event in zip(mine, events, strict=True) if _is_wanted(event)]
    normal = _of(test, [event is None for event in events])
    return {
        "events": len(wanted),
        "found": sum(bool(above[frames].any()) for frames in wanted),
        "false": int(above[normal].sum()),
        "normal frames": int(normal.sum()),
    }


def _over_seeds(each: Sequence[Metrics]) -> dict[str, Value]:
    """Returns the mean of each metric, and the standard deviation of the AUCs that are compared."""
    values: dict[str, Value] = {}
    for name in each[0]:
        known = [value for metrics in each if (value := metrics[name]) is not None]
        if name in ("AUC", WANTED) and known:
            values |= over_seeds(name, known)
        else:
            values[name] = mean(known) if known else None
    return values


def _mean_row(name: Value, rows: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """Returns the mean over the scenes with composed events."""
    composed = [row for row in rows if WANTED in row]
    row: dict[str, Value] = {"scene": "mean", "score": name}
    for column in ("AUC", WANTED):
        values = [value for each in composed if isinstance(value := each[column], float)]
        row[column] = mean(values) if values else None
    return row
