"""The named variants of the paper and the recipe that each is trained by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from mnad.models.autoencoder import ModelConfig

PresetName = Literal[
    "prediction",
    "prediction-no-memory",
    "prediction-no-skips",
    "reconstruction",
    "reconstruction-no-memory",
    "reconstruction-released",
    "denoising",
    "temporal",
    "temporal-denoising",
]


@dataclass(frozen=True)
class Recipe:
    """The published values of a task.

    Attributes:
        learning_rate: Of Adam, at the start of the cosine schedule.
        loss_weight: lambda_c = lambda_s, the weight of compactness and of separateness.
        score_weight: lambda of the abnormality score, the share of PSNR; 1 without memory.
        update_threshold: E_t below which a test frame updates the items.
        noise: Share of salt-and-pepper pixels in the input frames.
    """

    learning_rate: float
    loss_weight: float
    score_weight: float
    update_threshold: float
    noise: float = 0.0


@dataclass(frozen=True)
class Preset:
    """A variant of the network with its recipe, and what it is in a line."""

    summary: str
    model: ModelConfig
    recipe: Recipe


PREDICTION = Recipe(learning_rate=2e-4, loss_weight=0.1, score_weight=0.6, update_threshold=0.01)
RECONSTRUCTION = Recipe(learning_rate=2e-5, loss_weight=0.01, score_weight=0.7, update_threshold=0.015)
DENOISING = replace(RECONSTRUCTION, noise=0.25)
RECIPES = {"prediction": PREDICTION, "reconstruction": RECONSTRUCTION}

_ONE_FRAME = ModelConfig(frames_in=1, target="last", skips=False)
_FOUR_FRAMES = ModelConfig(frames_in=4, target="last", skips=False)

PRESETS: dict[PresetName, Preset] = {
    "prediction": Preset("the next frame of four, with skips and memory", ModelConfig(), PREDICTION),
    "prediction-no-memory": Preset("prediction without memory", ModelConfig(memory=None), PREDICTION),
    "prediction-no-skips": Preset("prediction without skips", ModelConfig(skips=False), PREDICTION),
    "reconstruction": Preset("the frame itself, without skips, with memory", _ONE_FRAME, RECONSTRUCTION),
    "reconstruction-no-memory": Preset(
        "reconstruction without memory", replace(_ONE_FRAME, memory=None), RECONSTRUCTION
    ),
    "reconstruction-released": Preset(
        "reconstruction with the released code's wider decoder", replace(_ONE_FRAME, decoder="wide-up"), RECONSTRUCTION
    ),
    "denoising": Preset("the clean frame from a noisy one, with skips", replace(_ONE_FRAME, skips=True), DENOISING),
    "temporal": Preset("the last of four input frames, without skips", _FOUR_FRAMES, RECONSTRUCTION),
    "temporal-denoising": Preset(
        "the clean last of four noisy frames, with skips", replace(_FOUR_FRAMES, skips=True), DENOISING
    ),
}
assert set(PRESETS) == set(get_args(PresetName))
