"""The options of scoring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mnad.data.layouts import LayoutName
from mnad.errors import ConfigError

UpdateScope = Literal["carried-over", "per-video", "none"]


@dataclass(frozen=True)
class ScoreConfig:
    """Options of scoring.

    Attributes:
        run: A run's folder, or a checkpoint file.
        data: A data set in any known layout, or a clip store.
        out: Where the measurements go; measurements.npz in the run's folder if left out.
        labels: A label set of the data by its name, such as hasan or official for Avenue, or a label file; the data's
            own if left out.
        update: Test-time update of the items: carried-over from video to video (published), per-video (items start
            anew in each video), or none.
        threshold: E_t below which a frame updates the items; the published value of the task if left out.
        batch_size: Frames at a time where there is no update; it changes no score. With the update frames go one by
            one, as each may change the items that the next one reads.
        maps: Whether to store maps of each frame, too, beside the measurements: where its error is, where its queries
            lie far from the items, and the pictures. They take up to 110 kB a frame before compression.
        accelerator: cpu, cuda, or auto for what there is.
        layout: How the data are laid out; found by looking if left out.
        cache: Where clip stores are kept; the variable MNAD_CACHE, or ~/.cache/mnad, if left out.
    """

    run: Path
    data: Path
    out: Path | None = None
    labels: str | None = None
    update: UpdateScope = "carried-over"
    threshold: float | None = None
    batch_size: int = 8
    maps: bool = False
    accelerator: str = "auto"
    layout: LayoutName | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.threshold is not None and self.threshold < 0:
            raise ConfigError(f"threshold must not be negative, got {self.threshold}")
