"""What a network makes of a frame while parts of what its decoder is given are replaced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mnad.analysis import RestoredFrame
from mnad.runtime.files import atomic_write

WHOLE = "nothing"


def draw_probes(path: Path, outputs: Mapping[tuple[str, str], RestoredFrame]) -> None:
    """Draws a row for each filler and a column for each thing replaced, the true frame and the whole output first.

    Args:
        path: The PNG file to write.
        outputs: What came out, by what was replaced (``"nothing"`` among it) and by what.

    Raises:
        OutputError: If the plot cannot be written.
    """
    replaced = list(dict.fromkeys(what for what, _ in outputs if what != WHOLE))
    fillers = list(dict.fromkeys(filler for what, filler in outputs if what != WHOLE))
    whole = next(restored for (what, _), restored in outputs.items() if what == WHOLE)
    figure = Figure(figsize=(1.7 * (len(replaced) + 2), 1.9 * len(fillers) + 0.3), layout="constrained")
    axes = figure.subplots(len(fillers), len(replaced) + 2, squeeze=False)
    for row, filler in zip(axes, fillers, strict=True):
        pictures = [whole.target, whole.output, *(outputs[what, filler].output for what in replaced)]
        for axis, image in zip(row, pictures, strict=True):
            axis.imshow(np.clip(image[..., ::-1], 0, 1) if image.shape[-1] == 3 else image[..., 0], cmap="gray")
            axis.set_xticks([], [])
            axis.set_yticks([], [])
        row[0].set_ylabel(f"replaced by {filler}", fontsize=9)
    for axis, title in zip(axes[0], ("frame wanted", "nothing replaced", *replaced), strict=True):
        axis.set_title(title, fontsize=7)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
