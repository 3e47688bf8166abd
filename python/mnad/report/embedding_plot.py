"""The queries of several runs in the plane, coloured by their nearest item, with the items drawn in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnad.analysis.embedding import Embedding
from mnad.report.colours import item_colours
from mnad.runtime.files import atomic_write


def draw_embeddings(path: Path, runs: Mapping[str, Sequence[Embedding]]) -> None:
    """Draws a column for each run and a row for each method; all panels of a method share their axes.

    Args:
        path: The PNG file to write.
        runs: Embeddings by the name of the run, of the same methods in the same order.

    Raises:
        OutputError: If the plot cannot be written.
    """
    methods = [embedding.method for embedding in next(iter(runs.values()))]
    figure = Figure(figsize=(4.2 * len(runs) + 0.6, 4.2 * len(methods) + 0.4), layout="constrained")
    axes = figure.subplots(len(methods), len(runs), squeeze=False, sharex="row", sharey="row")
    for row, method in zip(axes, methods, strict=True):
        for axis, (name, embeddings) in zip(row, runs.items(), strict=True):
            embedding = embeddings[methods.index(method)]
            _draw(axis, embedding)
            axis.set_title(f"{name}\n{method}, {len(embedding.queries):,} queries", fontsize=9)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw(axis: Axes, embedding: Embedding) -> None:
    colours = item_colours(len(embedding.items))
    for item, (place, colour) in enumerate(zip(embedding.items, colours, strict=True)):
        mine = embedding.queries[embedding.nearest == item]
        axis.scatter(mine[:, 0], mine[:, 1], s=5, color=colour, linewidths=0, alpha=0.7)
        used = len(mine) > 0
        marker = axis.scatter(
            place[0], place[1], s=130, color=colour, marker="*", edgecolors="black", linewidths=0.8, zorder=3
        )
        marker.set_label(str(item))
        axis.annotate(str(item), place, xytext=(5, 5), textcoords="offset points", fontsize=8, alpha=1 if used else 0.5)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_aspect("equal")
    axis.margins(0.05)
