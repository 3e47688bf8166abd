"""The paper's tables of AUCs as lists of rows: each a training, how it is measured, and what was published."""

from __future__ import annotations

from dataclasses import dataclass, field

from mnad.measuring import UpdateScope
from mnad.models import PresetName
from mnad.reproduction.published import (
    ABLATIONS,
    DENOISING_PED2,
    MODELS,
    PREDICTION,
    RECOMMENDED,
    RECONSTRUCTION,
    SEARCHED,
    SUPERVISION,
    UPDATE_SUPERVISED,
)
from mnad.reproduction.results import Value
from mnad.reproduction.runner import TrainingSpec
from mnad.reproduction.scale import DATASETS, TITLES

BATCH_SIZES = (2, 4)
SKIP_NOISE: dict[PresetName, str] = {
    "denoising": "denoising reconstruction with skips",
    "temporal-denoising": "the same of four frames",
    "temporal": "reconstruction of the last of four frames, no skips",
}


@dataclass(frozen=True)
class Row:
    """One row: a training and how its AUC is made.

    Attributes:
        labels: What the row is, by column.
        training: What is trained; its seed is the first of several.
        update: Test-time update.
        score_weight: lambda; the published value of the task if None.
        search: Whether epoch, batch size and lambda are searched over, with the test set's labels.
        published: Numbers to compare with, by column, in per cent.
    """

    labels: dict[str, Value]
    training: TrainingSpec
    update: UpdateScope = "carried-over"
    score_weight: float | None = None
    search: bool = False
    published: dict[str, Value] = field(default_factory=dict)


def table4() -> list[Row]:
    """Recommended hyperparameters; the paper sets lambda to 1 for prediction on ShanghaiTech.

    The original paper does not say how it chose its own.
    """
    return [
        Row(
            {"data": TITLES[dataset], "model": model},
            TrainingSpec(preset, dataset),
            score_weight=1.0 if (preset, dataset) == (PREDICTION, "shanghaitech") else None,
            published={"paper": RECOMMENDED[preset][dataset], "original paper": SEARCHED[preset][dataset].original},
        )
        for dataset in DATASETS
        for preset, model in MODELS.items()
    ]


def table5() -> list[Row]:
    """The best of a search, beside where the paper found it."""
    return [
        Row(
            {"data": TITLES[dataset], "model": model},
            TrainingSpec(preset, dataset),
            search=True,
            published={
                "paper": best.paper,
                "original paper": best.original,
                "paper's lambda": best.score_weight,
                "paper's epoch": best.epoch,
                "paper's batch": best.batch_size,
            },
        )
        for dataset in DATASETS
        for preset, model in MODELS.items()
        for best in [SEARCHED[preset][dataset]]
    ]


def table6() -> list[Row]:
    """Ablation of reconstruction with memory on Ped2."""
    return _ablation(RECONSTRUCTION)


def table7() -> list[Row]:
    """Ablation of prediction with memory on Ped2."""
    return _ablation(PREDICTION)


def _ablation(preset: PresetName) -> list[Row]:
    return [
        Row(
            {
                "separateness": ablation.separateness,
                "compactness": ablation.compactness,
                "test-time update": ablation.update,
            },
            TrainingSpec(preset, "ped2", compactness=ablation.compactness, separateness=ablation.separateness),
            update="carried-over" if ablation.update else "none",
            score_weight=ablation.score_weight,
            published={"paper": ablation.paper},
        )
        for ablation in ABLATIONS[preset]
    ]


def table8() -> list[Row]:
    """Without and with the memory distribution supervision; published for ShanghaiTech."""
    return [
        Row(
            {"data": TITLES[dataset], "model": MODELS[preset], "supervision": supervised},
            TrainingSpec(preset, dataset, supervised=supervised),
            published={"paper": aucs[supervised] if dataset == "shanghaitech" else None},
        )
        for dataset in reversed(DATASETS)
        for preset, aucs in SUPERVISION.items()
        for supervised in (False, True)
    ]


def table9() -> list[Row]:
    """With supervision, without and with the test-time update; published for ShanghaiTech."""
    return [
        Row(
            {"data": TITLES[dataset], "model": MODELS[preset], "test-time update": update},
            TrainingSpec(preset, dataset, supervised=True),
            update="carried-over" if update else "none",
            published={"paper": aucs[update] if dataset == "shanghaitech" else None},
        )
        for dataset in reversed(DATASETS)
        for preset, aucs in UPDATE_SUPERVISED.items()
        for update in (False, True)
    ]


def skip_noise() -> list[Row]:
    """Reconstruction with skips from noisy frames, and what it is to be compared with; published for Ped2."""
    return [
        Row(
            {"data": TITLES[dataset], "model": model},
            TrainingSpec(preset, dataset),
            published={"paper": DENOISING_PED2 if (preset, dataset) == ("denoising", "ped2") else None},
        )
        for dataset in DATASETS
        for preset, model in SKIP_NOISE.items()
    ]
