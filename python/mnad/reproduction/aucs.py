"""Carrying out the tables of AUCs: every run that a row needs, then its figure over the seeds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import NamedTuple

from mnad.artifacts.measurements import Measurements
from mnad.evaluation import evaluate, sweep
from mnad.reproduction.results import Result, Value
from mnad.reproduction.runner import Look, Run, Workshop
from mnad.reproduction.tables import BATCH_SIZES, Row

CHOSEN_ON_TEST = "chosen on test"


class Found(NamedTuple):
    """An AUC in per cent, and the choices that it was found with."""

    auc: float
    score_weight: float
    epoch: int
    batch_size: int


def looks_of(row: Row, workshop: Workshop, seeds: Sequence[int]) -> list[Look]:
    """Lists the measurements that a row needs."""
    return [look for seed in seeds for look in _looks(row, workshop, replace(row.run, seed=seed))]


def auc_table(name: str, title: str, rows: Sequence[Row], workshop: Workshop, seeds: Sequence[int]) -> Result:
    """Fills in a table; rows of data sets that are not there are named and left out."""
    there = [row for row in rows if row.run.dataset in workshop.data]
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
        [_filled_in(row, workshop, seeds) for row in there],
        notes,
        missing=workshop.missing({row.run.dataset for row in rows}),
    )


def _filled_in(row: Row, workshop: Workshop, seeds: Sequence[int]) -> dict[str, Value]:
    runs = [replace(row.run, seed=seed) for seed in seeds]
    best = [_best(row, workshop, run) for run in runs]
    aucs = [found.auc for found in best]
    if row.search:
        ours: dict[str, Value] = {
            **_over_seeds(f"ours, {CHOSEN_ON_TEST}", aucs),
            "lambda": best[0].score_weight,
            "epoch": best[0].epoch,
            "batch": best[0].batch_size,
        }
    else:
        measured = [workshop.measured(Look(run, row.update)) for run in runs]
        fixed = [_auc(measurements, row.score_weight) for measurements in measured]
        aucs = [auc for auc, _ in fixed]
        ours = {
            "lambda": fixed[0][1],
            **_over_seeds("ours", aucs),
            f"best, lambda {CHOSEN_ON_TEST}": mean(found.auc for found in best),
            "its lambda": best[0].score_weight,
            "frames that updated": int(measured[0].updated.sum()),
        }
    published = row.published.get("report")
    difference = mean(aucs) - published if isinstance(published, float) else None
    return {**row.labels, **ours, **row.published, "ours - report": difference}


def _looks(row: Row, workshop: Workshop, run: Run) -> list[Look]:
    if not row.search:
        return [Look(run, row.update)]
    return [
        Look(replace(run, batch_size=batch_size), row.update, epoch)
        for batch_size in BATCH_SIZES
        for epoch in workshop.epochs_kept(run)
    ]


def _best(row: Row, workshop: Workshop, run: Run) -> Found:
    """The best lambda, and epoch and batch size if they are searched over."""
    found = []
    for look in _looks(row, workshop, run):
        measurements = workshop.measured(look)
        auc, weight = _best_auc(measurements)
        epoch = workshop.scale.epochs[run.dataset] if look.epoch is None else look.epoch
        found.append(Found(auc, weight, epoch, look.run.batch_size))
    return max(found)


def _auc(measurements: Measurements, score_weight: float | None) -> tuple[float, float]:
    """Gives an AUC in per cent, and the lambda that it was made with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant distance counts as nothing, in a table as anywhere
        evaluation = evaluate(measurements, score_weight)
    return 100 * evaluation.auc, evaluation.score_weight


def _best_auc(measurements: Measurements) -> tuple[float, float]:
    """Gives the largest AUC in per cent that a lambda gives, and that lambda."""
    if not measurements.protocol["memory"]:
        return _auc(measurements, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = sweep(measurements)
    return 100 * found.best_auc, found.best_weight


def _over_seeds(name: str, values: Sequence[float]) -> dict[str, Value]:
    if len(values) == 1:
        return {name: values[0]}
    return {name: mean(values), f"{name}, sd": stdev(values)}
