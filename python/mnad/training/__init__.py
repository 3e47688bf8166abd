"""Training: the published recipe, its variants, and all that a long run needs."""

from mnad.training.config import TrainConfig, training_options
from mnad.training.loop import train

__all__ = ["TrainConfig", "train", "training_options"]
