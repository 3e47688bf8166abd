"""For each kind of anomaly and each model: what it was shown, what it made of it, where it erred, and the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mnad.analysis import RestoredFrame
from mnad.runtime.files import atomic_write

ABNORMAL_SHADE = "#f2c6a0"
SCORE_COLOUR = "#20508c"
COLUMNS = (
    "last frame shown", "frame wanted", "output", "squared error",
    "abnormality score over the video (shaded: abnormal)",
)  # fmt: skip
LARGEST_ERROR = 0.5


@dataclass(frozen=True)
class AnomalyRow:
    """A row of the plot.

    Attributes:
        title: The kind of anomaly and the model.
        restored: A frame in the middle of the anomaly.
        frames: (F,) int64, the scored frames of its video.
        scores: (F,), their abnormality in [0, 1].
        abnormal: (F,) bool, their labels.
        marked: The number of the frame that is shown.
    """

    title: str
    restored: RestoredFrame
    frames: NDArray[np.int64]
    scores: NDArray[np.float64]
    abnormal: NDArray[np.bool_]
    marked: int


def draw_anomalies(path: Path, rows: Sequence[AnomalyRow]) -> None:
    """Draws the rows under one another.

    Args:
        path: The PNG file to write.
        rows: What to draw.

    Raises:
        OutputError: If the plot cannot be written.
    """
    figure = Figure(figsize=(14, 1.6 * len(rows) + 0.6), layout="constrained")
    axes = figure.subplots(len(rows), len(COLUMNS), width_ratios=[1, 1, 1, 1, 4.2], squeeze=False)
    for row, (*pictures, score) in zip(rows, axes, strict=True):
        for axis, image in zip(pictures, (row.restored.shown, row.restored.target, row.restored.output), strict=False):
            axis.imshow(np.clip(image[..., ::-1], 0, 1) if image.shape[-1] == 3 else image[..., 0], cmap="gray")
        error = pictures[3].imshow(row.restored.error, cmap="magma", vmin=0, vmax=LARGEST_ERROR)
        figure.colorbar(error, ax=pictures[3], fraction=0.05)
        pictures[3].set_xlabel(f"MSE {row.restored.error.mean():.2e}", fontsize=8)
        pictures[0].set_ylabel(row.title, rotation=0, ha="right", va="center", fontsize=10)
        for axis in pictures:
            axis.set_xticks([], [])
            axis.set_yticks([], [])
        _draw_score(score, row)
    for axis, title in zip(axes[0], COLUMNS, strict=True):
        axis.set_title(title, fontsize=10)
    axes[-1][-1].set_xlabel("frame")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw_score(axis: Axes, row: AnomalyRow) -> None:
    axis.fill_between(row.frames, 0, 1, where=row.abnormal, color=ABNORMAL_SHADE, step="mid", linewidth=0)
    axis.plot(row.frames, row.scores, color=SCORE_COLOUR, linewidth=1.3)
    axis.axvline(row.marked, color="black", linewidth=0.8, linestyle=":")
    axis.set_ylim(0, 1)
    axis.set_xlim(0, int(row.frames[-1]))
    axis.set_yticks([0, 0.5, 1])
    axis.tick_params(labelsize=8)
