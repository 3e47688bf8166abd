"""How items are used (figures 2 to 4), and where queries and items lie (figures 1 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnad.analysis import embed_pca, embed_tsne, perplexity, sample_queries, shares, usage_of
from mnad.artifacts.curves import read_curves
from mnad.report.embedding_plot import draw_embeddings
from mnad.report.run_plots import embedding_caption, usage_caption
from mnad.report.usage_plot import draw_usage
from mnad.reproduction.published import ITEMS_IN_USE, MODELS, PREDICTION, RECONSTRUCTION
from mnad.reproduction.results import Result, Value
from mnad.reproduction.runner import MeasurementSpec, Runner, TrainingSpec
from mnad.reproduction.scale import TITLES

FRAMES, QUERIES_A_FRAME = 100, 20


def usage_specs(runner: Runner, seeds: Sequence[int]) -> list[MeasurementSpec]:
    """Returns the measurement specs that figures 2 to 4 need."""
    return [MeasurementSpec(training, "none") for training in _usage_trainings(runner, seeds)]


def embedding_specs(runner: Runner, seeds: Sequence[int]) -> list[MeasurementSpec]:
    """Returns the specs of the trainings that figures 1 and 5 need."""
    return [MeasurementSpec(training, "none") for training in _embedding_trainings(runner, seeds)]


def figures2_to_4(runner: Runner, seeds: Sequence[int], out: Path) -> Result:
    """Draws how often each item is nearest, and what it stands for."""
    rows: list[dict[str, Value]] = []
    usages = {}
    for training in _usage_trainings(runner, seeds):
        measured = runner.measured(MeasurementSpec(training, "none"))
        used = shares(measured.nearest)
        curves = read_curves(runner.folder_of(training))
        last = curves[-1]
        name = f"{TITLES[training.dataset]}, {MODELS[training.preset]}"
        published = ITEMS_IN_USE.get(training.dataset) if training.preset == PREDICTION else None
        rows.append(
            {
                "run": name,
                "items in use": int(np.count_nonzero(used)),
                "paper": published,
                "usage perplexity": perplexity(used),
                "training, positional share": last["positional_share"],
                "training, H(item), bits": last["entropy_bits"],
                "training, H(item) given position, bits": last["entropy_at_position_bits"],
                "mean cosine of the items": last["mean_cosine"],
            }
        )
        clips = runner.clips(training.dataset)
        queries = sample_queries(runner.model(training), clips, FRAMES, runner.scale.size**2, training.seed)
        usages[name] = usage_of(measured, curves, queries, clips)
    if usages:
        draw_usage(out / "usage.png", usages)
    return Result(
        "figures2-4",
        "use of the memory's items",
        rows,
        [
            "Over all test frames, without test-time update. At a positional share of 1 the nearest item is a function "
            "of position: the memory has learned where, and nothing of what."
        ],
        missing=runner.missing(),
        plots={"usage.png": usage_caption(FRAMES)} if usages else {},
    )


def figures1_and_5(runner: Runner, seeds: Sequence[int], out: Path) -> Result:
    """Draws queries and items in the plane, without and with the supervision."""
    rows: list[dict[str, Value]] = []
    plots = {}
    trainings = _embedding_trainings(runner, seeds)
    for dataset in dict.fromkeys(training.dataset for training in trainings):
        embeddings = {}
        for training in trainings:
            if training.dataset != dataset:
                continue
            queries = sample_queries(
                runner.model(training), runner.clips(dataset), FRAMES, QUERIES_A_FRAME, training.seed
            )
            name = "with supervision" if training.supervised else "as published"
            embeddings[name] = [embed_tsne(queries, seed=training.seed), embed_pca(queries)]
            cosine = queries.similarity
            rows.append(
                {
                    "data": TITLES[dataset],
                    "model": f"{MODELS[training.preset]}, {name}",
                    "queries drawn": len(queries),
                    "items among their nearest": len(np.unique(queries.nearest)),
                    "mean cosine to the nearest item": float(cosine.mean()),
                }
            )
        file = f"embedding-{dataset}.png"
        draw_embeddings(out / file, embeddings)
        plots[file] = f"{TITLES[dataset]}: {embedding_caption(queries, seeds[0])}"
    return Result(
        "figures1-5",
        "queries and items in the plane",
        rows,
        ["The paper shows t-SNE of prediction with memory, as published and with its supervision."],
        missing=runner.missing(),
        plots=plots,
    )


def _usage_trainings(runner: Runner, seeds: Sequence[int]) -> list[TrainingSpec]:
    return [
        TrainingSpec(preset, dataset, seed=seeds[0])
        for dataset in runner.available()
        for preset in (PREDICTION, RECONSTRUCTION)
    ]


def _embedding_trainings(runner: Runner, seeds: Sequence[int]) -> list[TrainingSpec]:
    return [
        TrainingSpec(PREDICTION, dataset, supervised=supervised, seed=seeds[0])
        for dataset in runner.available()
        for supervised in (False, True)
    ]
