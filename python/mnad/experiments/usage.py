"""How items are used (figures 2 to 4), and where queries and items lie (figures 1 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnad.analysis.embedding import PERPLEXITY, embed_pca, embed_tsne
from mnad.analysis.samples import patches_of_item, sample_queries
from mnad.checkpoint import load_checkpoint
from mnad.data import Clips
from mnad.experiments.published import ITEMS_IN_USE, MODELS, PREDICTION, RECONSTRUCTION
from mnad.experiments.results import Result, Value
from mnad.experiments.runs import Look, Run, Workshop, curves_of
from mnad.experiments.scale import TITLES
from mnad.measurements import Measurements
from mnad.models import Autoencoder
from mnad.report.embedding_figure import draw_embeddings
from mnad.report.usage_figure import Usage, draw_usage

PATCH_FRAMES, PATCHES = 100, 10
EMBEDDED_FRAMES, QUERIES_A_FRAME = 100, 20


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
        shares = _shares(measured.nearest)
        last = curves_of(workshop.folder_of(run))[-1]
        name = f"{TITLES[run.dataset]}, {MODELS[run.preset]}"
        published = ITEMS_IN_USE.get(run.dataset) if run.preset == PREDICTION else None
        rows.append(
            {
                "run": name,
                "items in use": int((shares > 0).sum()),
                "report": published,
                "usage perplexity": float(np.exp(-np.sum(shares[shares > 0] * np.log(shares[shares > 0])))),
                "training, positional share": last["positional_share"],
                "training, H(item), bits": last["entropy_bits"],
                "training, H(item) given position, bits": last["entropy_at_position_bits"],
                "mean cosine of the items": last["mean_cosine"],
            }
        )
        usages[name] = _usage(measured, curves_of(workshop.folder_of(run)), workshop, run)
    if usages:
        draw_usage(out / "usage.png", usages)
    caption = (
        "Each item's share of the queries of the test frames (normal and abnormal), of the training frames epoch by "
        f"epoch, and the places of {PATCH_FRAMES} test frames whose queries are nearest to it, the closest first."
    )
    return Result(
        "figures2-4",
        "use of the memory's items",
        rows,
        [
            "Over all test frames, without test-time update. At a positional share of 1 the nearest item is a function "
            "of position: the memory has learned where, and nothing of what."
        ],
        missing=workshop.missing(),
        pictures={"usage.png": caption} if usages else {},
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
            queries = sample_queries(
                _model(workshop, run), workshop.clips(dataset), EMBEDDED_FRAMES, QUERIES_A_FRAME, run.seed
            )
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
        pictures[file] = (
            f"{TITLES[dataset]}, prediction with memory: {len(queries):,} queries of {EMBEDDED_FRAMES} test frames "
            f"(seed {seeds[0]}), coloured by their nearest item; stars are the items. t-SNE (perplexity "
            f"{PERPLEXITY:g}) and PCA."
        )
    return Result(
        "figures1-5",
        "queries and items in the plane",
        rows,
        ["t-SNE keeps neighbours together; distances between groups mean little. In PCA they mean what they say."],
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


def _model(workshop: Workshop, run: Run) -> Autoencoder:
    model = load_checkpoint(workshop.folder_of(run)).build_model().to(workshop.device())
    return model.eval()


def _usage(measured: Measurements, curves: list[dict[str, float]], workshop: Workshop, run: Run) -> Usage:
    clips: Clips = workshop.clips(run.dataset)
    queries = sample_queries(_model(workshop, run), clips, PATCH_FRAMES, workshop.scale.size**2 // 64, run.seed)
    M = measured.nearest.shape[1]
    abnormal = np.zeros(len(measured), bool) if measured.labels is None else measured.labels
    return Usage(
        normal=_shares(measured.nearest[~abnormal]),
        abnormal=_shares(measured.nearest[abnormal]),
        by_epoch=np.array([[row[f"usage_{item:02d}"] for item in range(M)] for row in curves]),
        patches=[patches_of_item(queries, clips, item, PATCHES) for item in range(M)],
    )


def _shares(counts: NDArray[np.int32]) -> NDArray[np.float64]:
    total = counts.sum(0, dtype=np.float64)
    shares: NDArray[np.float64] = total / max(total.sum(), 1.0)
    return shares
