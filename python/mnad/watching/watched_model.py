"""A model that watches several streams, and where the state of them is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnad.artifacts.maps import ERROR_GRID
from mnad.measuring.options import InferenceOptions
from mnad.runtime.errors import CheckpointError, ConfigError
from mnad.runtime.progress import print_beside
from mnad.watching.model import CalibratedModel
from mnad.watching.state import load_streams, save_streams
from mnad.watching.streams import Streams

NOTES = 1  # version of what is noted of each stream


class WatchedModel:
    """A model that watches several streams.

    Args:
        run: The run that it is of.
        folder: Where the state of its streams is kept.
        options: How it computes.

    Raises:
        CheckpointError: If there is no usable checkpoint, or it is not calibrated.
        ConfigError: If its scores are smoothed by frames to come.
    """

    def __init__(self, run: Path, folder: Path, options: InferenceOptions) -> None:
        self.loaded = CalibratedModel.load(run, options.accelerator, options.runtime)
        self.calibration = self.loaded.calibration
        if self.calibration.smoothing.looks_ahead:
            raise ConfigError(
                f"the calibration of {run} smooths scores by frames to come ({self.calibration.smoothing.name}), which "
                "a camera has not yet; calibrate with --smoothing causal or none"
            )
        threshold = self.calibration.threshold_for(None).threshold
        network = self.loaded.network(options.precision, options.runtime)
        self.streams = Streams(network, self.calibration, threshold)
        self._model = self.loaded.identity  # a hash of all weights, which takes a while
        self.identity = hashlib.sha256(f"{self._model} {self.calibration.identity}".encode()).hexdigest()[:12]
        self.state_file = folder / f"{self.identity}.safetensors"

    @property
    def grid(self) -> int:
        """G, of the maps of errors."""
        return min(self.loaded.size, ERROR_GRID)

    @property
    def queries(self) -> int:
        """Height and width of the map of queries."""
        return self.loaded.size // 8

    def save(self, notes: Mapping[str, Any]) -> None:
        """Writes the state of all streams.

        Raises:
            OutputError: If it cannot be written.
        """
        stored = {"version": NOTES, "streams": notes}
        save_streams(self.state_file, self.streams, self._model, stored)

    def load(self) -> dict[str, Any]:
        """Goes on from the state that was written, if there is one, and returns its notes."""
        if not self.state_file.is_file():
            return {}
        try:
            stored = load_streams(self.state_file, self.streams, self._model)
            if stored.get("version") != NOTES:
                raise CheckpointError(f"{self.state_file} was written by another version of mnad")
        except CheckpointError as error:
            self.streams.by_name.clear()
            print_beside(f"the state of the streams is lost, and they begin anew: {error}")
            return {}
        return dict(stored["streams"])
