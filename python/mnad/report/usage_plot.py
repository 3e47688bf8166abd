"""How the items of a memory are used, over the test set and epoch by epoch, and what each stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mnad.analysis import Usage
from mnad.report.colours import item_colours
from mnad.runtime.files import atomic_write


def draw_usage(path: Path, runs: Mapping[str, Usage]) -> None:
    """Draws a row for each run: usage on the test set, usage over the epochs, patches of each item.

    Raises:
        OutputError: If the plot cannot be written.
    """
    figure = Figure(figsize=(13, 3.4 * len(runs)), layout="constrained")
    axes = figure.subplots(len(runs), 3, squeeze=False, width_ratios=[1.2, 1, 1.6])
    for (bars, epochs, patches), (name, usage) in zip(axes, runs.items(), strict=True):
        _draw_bars(bars, usage)
        bars.set_ylabel(f"{name}\n\nshare of the queries", fontsize=9)
        _draw_epochs(epochs, usage)
        _draw_patches(patches, usage)
    for axis, title in zip(
        axes[0], ("test frames: normal (full), abnormal (pale)", "training, by epoch", "nearest places"), strict=True
    ):
        axis.set_title(title, fontsize=10)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw_bars(axis: Axes, usage: Usage) -> None:
    places = np.arange(len(usage.normal))
    colours = item_colours(len(places))
    axis.bar(places - 0.2, usage.normal, 0.38, color=colours)
    axis.bar(places + 0.2, usage.abnormal, 0.38, color=colours, alpha=0.45)
    axis.set_xticks(places)
    axis.set_xlabel("item")


def _draw_epochs(axis: Axes, usage: Usage) -> None:
    epochs = np.arange(1, len(usage.by_epoch) + 1)
    below = np.zeros(len(epochs))
    for shares, colour in zip(usage.by_epoch.T, item_colours(usage.by_epoch.shape[1]), strict=True):
        axis.bar(epochs, shares, 0.95, bottom=below, color=colour)
        below += shares
    axis.set_ylim(0, 1)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("epoch")


def _draw_patches(axis: Axes, usage: Usage) -> None:
    columns = max((len(row) for row in usage.patches), default=0)
    axis.axis("off")
    for item, row in enumerate(usage.patches):
        axis.text(-0.3, item, str(item), ha="right", va="center", fontsize=8)
        if not row:
            axis.text(0, item, "never nearest", va="center", fontsize=8, color="0.4")
        for column, patch in enumerate(row):
            shown = patch[..., ::-1] if patch.shape[-1] == 3 else patch[..., 0]
            axis.imshow(shown, extent=(column, column + 0.95, item + 0.47, item - 0.47), cmap="gray", vmin=0, vmax=255)
    axis.set_xlim(-0.6, max(columns, 1))
    axis.set_ylim(len(usage.patches) - 0.5, -0.5)
    axis.set_aspect("equal")
