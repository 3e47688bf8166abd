"""The named variants of the report and the recipe that each is trained by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mnad.models.autoencoder import ModelConfig

PresetName = Literal["prediction", "prediction-no-memory", "reconstruction", "reconstruction-no-memory"]


@dataclass(frozen=True)
class Recipe:
    """The published values of a task.

    Attributes:
        learning_rate: Of Adam, at the start of the cosine schedule.
        loss_weight: lambda_c = lambda_s, the weight of compactness and of separateness.
        score_weight: lambda of the abnormality score, the share of PSNR; 1 without memory.
        update_threshold: E_t below which a test frame updates the items.
    """

    learning_rate: float
    loss_weight: float
    score_weight: float
    update_threshold: float


@dataclass(frozen=True)
class Preset:
    """A variant of the network with its recipe."""

    model: ModelConfig
    recipe: Recipe


PREDICTION = Recipe(learning_rate=2e-4, loss_weight=0.1, score_weight=0.6, update_threshold=0.01)
RECONSTRUCTION = Recipe(learning_rate=2e-5, loss_weight=0.01, score_weight=0.7, update_threshold=0.015)
RECIPES = {"prediction": PREDICTION, "reconstruction": RECONSTRUCTION}

PRESETS: dict[PresetName, Preset] = {
    "prediction": Preset(ModelConfig(), PREDICTION),
    "prediction-no-memory": Preset(ModelConfig(memory=None), PREDICTION),
    "reconstruction": Preset(ModelConfig(frames_in=1, target="last", skips=False), RECONSTRUCTION),
    "reconstruction-no-memory": Preset(
        ModelConfig(frames_in=1, target="last", skips=False, memory=None), RECONSTRUCTION
    ),
}
assert set(PRESETS) == set(get_args(PresetName))
