"""The network, and its named variants."""

from mnad.models.autoencoder import Autoencoder, MemoryConfig, ModelConfig, ModelOutput
from mnad.models.identity import weights_hash
from mnad.models.presets import PRESETS, Preset, PresetName, Recipe

__all__ = [
    "PRESETS",
    "Autoencoder",
    "MemoryConfig",
    "ModelConfig",
    "ModelOutput",
    "Preset",
    "PresetName",
    "Recipe",
    "weights_hash",
]
