"""Colours that people tell apart, colour-blind people too."""

from __future__ import annotations

import matplotlib
from matplotlib.typing import ColorType

# Paul Tol's "muted" scheme and grey.
_TEN = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777",
)  # fmt: skip


def item_colours(count: int) -> list[ColorType]:
    """Returns a colour for each memory item: ten that differ for anyone, else evenly from cividis."""
    if count <= len(_TEN):
        return list(_TEN[:count])
    return [matplotlib.colormaps["cividis"](index / (count - 1)) for index in range(count)]
