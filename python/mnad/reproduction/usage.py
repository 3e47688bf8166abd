"""How items are used (figures 2 to 4), and where queries and items lie (figures 1 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnad.analysis import embed_pca, embed_tsne, sample_queries, shares, usage_of
from mnad.artifacts.curves import read_curves
from mnad.report.embedding_plot import draw_embeddings
from mnad.report.run_plots import embedding_caption, usage_caption
from mnad.report.usage_plot import draw_usage
from mnad.reproduction.published import ITEMS_IN_USE, MODELS, PREDICTION, RECONSTRUCTION
from mnad.reproduction.results import Result, Value
from mnad.reproduction.runner import Look, Run, Workshop
from mnad.reproduction.scale import TITLES

FRAMES, QUERIES_A_FRAME = 100, 20


def usage_looks(workshop: Workshop, seeds: Sequence[int]) -> list[Look]:
    """Lists the measurements that figures 2 to 4 need."""
    return [Look(run, "none") for run in _usage_runs(workshop, seeds)]


def embedding_looks(workshop: Workshop, seeds: Sequence[int]) -> list[Look]:
    """Lists the runs that figures 1 and 5 need."""
    return [Look(run, "none") for run in _embedding_runs(workshop, seeds)]


def figures2_to_4(workshop: Workshop, seeds: Sequence[int], out: Path) -> Result:
    """Draws how often each item is nearest, and what it stands for."""
    rows: list[dict[str, Value]] = []
    usages = {}
    for run in _usage_runs(workshop, seeds):
        measured = workshop.measured(Look(run, "none"))
        used = shares(measured.nearest)
        used = used[used > 0]
        curves = read_curves(workshop.folder_of(run))
        last = curves[-1]
        name = f"{TITLES[run.dataset]}, {MODELS[run.preset]}"
        published = ITEMS_IN_USE.get(run.dataset) if run.preset == PREDICTION else None
        rows.append(
            {
                "run": name,
                "items in use": len(used),
                "report": published,
                "usage perplexity": float(np.exp(-np.sum(used * np.log(used)))),
                "training, positional share": last["positional_share"],
                "training, H(item), bits": last["entropy_bits"],
                "training, H(item) given position, bits": last["entropy_at_position_bits"],
                "mean cosine of the items": last["mean_cosine"],
            }
        )
        clips = workshop.clips(run.dataset)
        queries = sample_queries(workshop.model(run), clips, FRAMES, workshop.scale.size**2, run.seed)
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
        missing=workshop.missing(),
        pictures={"usage.png": usage_caption(FRAMES)} if usages else {},
    )


def figures1_and_5(workshop: Workshop, seeds: Sequence[int], out: Path) -> Result:
    """Draws queries and items in the plane, without and with the supervision."""
    rows: list[dict[str, Value]] = []
    pictures = {}
    runs = _embedding_runs(workshop, seeds)
    for dataset in dict.fromkeys(run.dataset for run in runs):
        embeddings = {}
        for run in runs:
            if run.dataset != dataset:
                continue
            queries = sample_queries(workshop.model(run), workshop.clips(dataset), FRAMES, QUERIES_A_FRAME, run.seed)
            name = "with supervision" if run.supervised else "as published"
            embeddings[name] = [embed_tsne(queries, seed=run.seed), embed_pca(queries)]
            cosine = queries.similarity
            rows.append(
                {
                    "data": TITLES[dataset],
                    "model": f"{MODELS[run.preset]}, {name}",
                    "queries drawn": len(queries),
                    "items among their nearest": len(np.unique(queries.nearest)),
                    "mean cosine to the nearest item": float(cosine.mean()),
                }
            )
        file = f"embedding-{dataset}.png"
        draw_embeddings(out / file, embeddings)
        pictures[file] = f"{TITLES[dataset]}: {embedding_caption(len(queries), FRAMES, seeds[0])}"
    return Result(
        "figures1-5",
        "queries and items in the plane",
        rows,
        ["The report shows t-SNE of prediction with memory, as published and with its supervision."],
        missing=workshop.missing(),
        pictures=pictures,
    )


def _usage_runs(workshop: Workshop, seeds: Sequence[int]) -> list[Run]:
    return [
        Run(preset, dataset, seed=seeds[0]) for dataset in workshop.there() for preset in (PREDICTION, RECONSTRUCTION)
    ]


def _embedding_runs(workshop: Workshop, seeds: Sequence[int]) -> list[Run]:
    return [
        Run(PREDICTION, dataset, supervised=supervised, seed=seeds[0])
        for dataset in workshop.there()
        for supervised in (False, True)
    ]
