"""Carrying out the tables of AUCs: every training that a row needs, then its metrics over the seeds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import NamedTuple

from mnad.artifacts.measurements import Measurements
from mnad.evaluation import evaluate, sweep
from mnad.reproduction.results import Result, Value
from mnad.reproduction.runner import MeasurementSpec, Runner, TrainingSpec
from mnad.reproduction.tables import BATCH_SIZES, Row

CHOSEN_ON_TEST = "chosen on test"


class BestAuc(NamedTuple):
    """An AUC in per cent, and the choices that it was found with."""

    auc: float
    score_weight: float
    epoch: int
    batch_size: int


def specs_of_row(row: Row, runner: Runner, seeds: Sequence[int]) -> list[MeasurementSpec]:
    """Returns the measurement specs that a row needs."""
    return [spec for seed in seeds for spec in _specs(row, runner, replace(row.training, seed=seed))]


def auc_table(name: str, title: str, rows: Sequence[Row], runner: Runner, seeds: Sequence[int]) -> Result:
    """Fills in a table; rows of data sets that were not given are named and left out."""
    available = [row for row in rows if row.training.dataset in runner.data]
    notes = [
        "AUC in per cent over all test frames, P and D normalised per video, items carried over from video to video "
        f"with the update. Columns marked '{CHOSEN_ON_TEST}' chose lambda, epoch or batch size by the test labels and "
        "say how far a search can get, not how well a model does on new video."
    ]
    if len(seeds) > 1:
        notes.append(f"Mean and standard deviation of {len(seeds)} seeds.")
    return Result(
        name,
        title,
        [_filled_in(row, runner, seeds) for row in available],
        notes,
        missing=runner.missing({row.training.dataset for row in rows}),
    )


def _filled_in(row: Row, runner: Runner, seeds: Sequence[int]) -> dict[str, Value]:
    trainings = [replace(row.training, seed=seed) for seed in seeds]
    best = [_best(row, runner, training) for training in trainings]
    aucs = [found.auc for found in best]
    if row.search:
        ours: dict[str, Value] = {
            **over_seeds(f"ours, {CHOSEN_ON_TEST}", aucs),
            "lambda": best[0].score_weight,
            "epoch": best[0].epoch,
            "batch": best[0].batch_size,
        }
    else:
        measured = [runner.measured(MeasurementSpec(training, row.update)) for training in trainings]
        fixed = [_auc(measurements, row.score_weight) for measurements in measured]
        aucs = [auc for auc, _ in fixed]
        ours = {
            "lambda": fixed[0][1],
            **over_seeds("ours", aucs),
            f"best, lambda {CHOSEN_ON_TEST}": mean(found.auc for found in best),
            "its lambda": best[0].score_weight,
            "frames that updated": int(measured[0].updated.sum()),
        }
    published = row.published.get("paper")
    difference = mean(aucs) - published if isinstance(published, float) else None
    return {**row.labels, **ours, **row.published, "ours - paper": difference}


def _specs(row: Row, runner: Runner, training: TrainingSpec) -> list[MeasurementSpec]:
    if not row.search:
        return [MeasurementSpec(training, row.update)]
    return [
        MeasurementSpec(replace(training, batch_size=batch_size), row.update, epoch)
        for batch_size in BATCH_SIZES
        for epoch in runner.epochs_kept(training)
    ]


def _best(row: Row, runner: Runner, training: TrainingSpec) -> BestAuc:
    """Returns the best lambda, and epoch and batch size if they are searched over."""
    found = []
    for spec in _specs(row, runner, training):
        measurements = runner.measured(spec)
        auc, weight = _best_auc(measurements)
        epoch = runner.scale.epochs[training.dataset] if spec.epoch is None else spec.epoch
        found.append(BestAuc(auc, weight, epoch, spec.training.batch_size))
    return max(found)


def _auc(measurements: Measurements, score_weight: float | None) -> tuple[float, float]:
    """Returns an AUC in per cent and the lambda that it was computed with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant distance counts as nothing, in a table as anywhere
        evaluation = evaluate(measurements, score_weight)
    weight = evaluation.score_weight
    assert not isinstance(weight, str)
    return 100 * evaluation.auc, weight


def _best_auc(measurements: Measurements) -> tuple[float, float]:
    """Returns the largest AUC in per cent over all lambdas, and its lambda."""
    if not measurements.protocol["memory"]:
        return _auc(measurements, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = sweep(measurements)
    return 100 * found.best_auc, found.best_weight


def over_seeds(name: str, values: Sequence[float]) -> dict[str, Value]:
    """Returns the mean of values of several seeds and its standard deviation, by the names of their columns."""
    if len(values) == 1:
        return {name: values[0]}
    return {name: mean(values), f"{name}, sd": stdev(values)}
