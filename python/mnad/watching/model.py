"""A calibrated model as a run holds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mnad.artifacts.checkpoint import load_checkpoint
from mnad.data.levels import Levels
from mnad.evaluation.calibration import Calibration
from mnad.measuring.network import Network
from mnad.measuring.options import Precision, RuntimeName
from mnad.measuring.runtimes import device_for
from mnad.measuring.usual import Usual
from mnad.models import Autoencoder, weights_hash
from mnad.runtime.errors import CheckpointError


@dataclass(frozen=True)
class CalibratedModel:
    """A trained network, and what its frames and its scores mean.

    Attributes:
        model: The network.
        calibration: Of this network.
        size: S, height and width of the frames that it was trained on, in pixels.
        levels: Black and white of pixels of more than 8 bits; None for a model of 8-bit frames.
        usual: What is usual at each place, if the calibration's scores count in relation to that.
    """

    model: Autoencoder
    calibration: Calibration
    size: int
    levels: Levels | None
    usual: Usual | None

    @staticmethod
    def load(run: Path, accelerator: str, runtime: RuntimeName = "torch") -> CalibratedModel:
        """Reads it.

        Args:
            run: A run's folder, a checkpoint file, or a folder of exported weights.
            accelerator: ``"cpu"``, ``"cuda"``, or ``"auto"`` for what there is.
            runtime: What is to execute the network.

        Raises:
            CheckpointError: If there is no usable checkpoint, or it is not calibrated.
        """
        checkpoint = load_checkpoint(run)
        if checkpoint.calibration is None:
            raise CheckpointError(
                f"the model in {run} is not calibrated, so its scores have no scale and no threshold; find both from "
                f"normal video with: mnad calibrate {run} --data DATA"
            )
        levels = checkpoint.training.get("levels")
        return CalibratedModel(
            checkpoint.build_model().to(device_for(accelerator, runtime)),
            Calibration.from_dict(checkpoint.calibration, run),
            checkpoint.training["size"],
            None if levels is None else Levels(*levels),
            Usual.of(checkpoint, run),
        )

    def network(self, precision: Precision, runtime: RuntimeName) -> Network:
        """Makes the model ready for scoring.

        Raises:
            ConfigError, CheckpointError: As :class:`mnad.measuring.network.Network`.
        """
        return Network(self.model, precision, self.usual, runtime=runtime, size=self.size)

    @property
    def identity(self) -> str:
        """What tells it from all others, for the state of its streams."""
        return model_identity(self.model, self.size, self.levels)


def model_identity(model: Autoencoder, size: int, levels: Levels | None) -> str:
    """Returns what tells a model from all others, for the state of its streams."""
    return f"weights {weights_hash(model.state_dict())}, size {size}, levels {levels}"
