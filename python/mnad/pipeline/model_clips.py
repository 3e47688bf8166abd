"""Data as a trained model knows them."""

from __future__ import annotations

from mnad.artifacts.checkpoint import Checkpoint
from mnad.data import Clips, open_clips
from mnad.data.options import DataOptions
from mnad.data.splits import SplitName
from mnad.runtime.places import Place


def open_as_trained(
    checkpoint: Checkpoint,
    data: Place,
    split: SplitName,
    options: DataOptions,
    *,
    labels: str | None = None,
    progress: bool = True,
) -> Clips:
    """Maps the frames of a split in the size, the channels and the levels that a model was trained on.

    Args:
        checkpoint: Of the model.
        data: A clip store, a data set in any known layout, or a video; or the address of videos.
        split: ``"training"`` or ``"testing"``.
        options: How the data are laid out, and where clip stores are kept.
        labels: The name of a label set or a label file; the data set's own if None.
        progress: Whether to say where the store is and to show a progress bar.

    Raises:
        DataError: If the data are not as they should be.
        ConfigError: If they cannot serve the model.
    """
    return open_clips(
        data,
        split,
        checkpoint.training["size"],
        image_channels=checkpoint.config.image_channels,
        layout=options.layout,
        labels=labels,
        levels=checkpoint.training.get("levels"),
        cache=options.cache,
        progress=progress,
    )
