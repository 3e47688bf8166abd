"""The demo's figure: for each kind of anomaly and each model, what it was shown, what it made of it, and the score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mnad.checkpoint import load_checkpoint
from mnad.data import Clips, Windows, to_frames
from mnad.evaluation import abnormality
from mnad.files import atomic_write
from mnad.measurements import Measurements, load_measurements
from mnad.models import Autoencoder

ABNORMAL_SHADE = "#f2c6a0"
SCORE_COLOUR = "#20508c"
COLUMNS = ("target frame", "output", "squared error", "abnormality score over the video (shaded: abnormal)")


def draw_demo(path: Path, clips: Clips, kinds: Mapping[str, str], runs: Mapping[str, Path]) -> None:
    """Draws one row for each kind of anomaly and model: target, output, error map and score curve.

    Args:
        path: The PNG file to write.
        clips: The synthetic test frames.
        kinds: The kind of anomaly of each test video.
        runs: Runs by the name of the model; each holds a checkpoint and measurements.

    Raises:
        OutputError: If the figure cannot be written.
    """
    shown: dict[str, str] = {}
    for video, kind in kinds.items():
        shown.setdefault(kind, video)
    rows = [(kind, video, model) for kind, video in shown.items() for model in runs]
    figure = Figure(figsize=(13, 1.75 * len(rows) + 0.6), layout="constrained")
    axes = figure.subplots(len(rows), 4, width_ratios=[1, 1, 1, 4.2], squeeze=False)
    models = {name: load_checkpoint(run).build_model().eval() for name, run in runs.items()}
    for row, (kind, video, name) in zip(axes, rows, strict=True):
        measurements = load_measurements(runs[name])
        frame = _middle_of_anomaly(clips, video)
        target, output = _restore(models[name], clips, frame)
        for axis, image in zip(row[:2], (target, output), strict=True):
            axis.imshow(image[..., ::-1])
        error = row[2].imshow(((target - output) ** 2).mean(-1), cmap="magma", vmin=0, vmax=0.5)
        figure.colorbar(error, ax=row[2], fraction=0.05)
        _draw_score(row[3], measurements, video, frame - int(clips.starts[clips.names.index(video)]))
        row[0].set_ylabel(f"{kind}\n{name}", rotation=0, ha="right", va="center", fontsize=10)
        for axis in row[:3]:
            axis.set_xticks([], [])
            axis.set_yticks([], [])
    for axis, title in zip(axes[0], COLUMNS, strict=True):
        axis.set_title(title, fontsize=10)
    axes[-1][3].set_xlabel("frame")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _middle_of_anomaly(clips: Clips, video: str) -> int:
    index = clips.names.index(video)
    assert clips.labels is not None
    abnormal = np.flatnonzero(clips.labels[clips.starts[index] : clips.starts[index + 1]])
    return int(clips.starts[index] + abnormal[len(abnormal) // 2])


@torch.inference_mode()
def _restore(model: Autoencoder, clips: Clips, frame: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gives the target and the model's output for it, both (H, W, C_img) in [0, 1]."""
    windows = Windows(clips, model.config.frames_in, model.config.target)
    pixels = windows[int(np.searchsorted(windows.targets, frame))]
    window = to_frames(pixels, model.config.image_channels).unsqueeze(0)
    output = model(window[:, : model.config.frames_in].flatten(1, 2)).frames
    target, restored = (((images[0] + 1) / 2).movedim(0, -1).numpy() for images in (window[:, -1], output))
    return target, restored


def _draw_score(axis: Axes, measurements: Measurements, video: str, marked: int) -> None:
    chosen = measurements.video == measurements.videos.index(video)
    scores = abnormality(measurements)[chosen]
    frames = measurements.frame[chosen]
    assert measurements.labels is not None
    axis.fill_between(frames, 0, 1, where=measurements.labels[chosen], color=ABNORMAL_SHADE, step="mid", linewidth=0)
    axis.plot(frames, scores, color=SCORE_COLOUR, linewidth=1.3)
    axis.axvline(marked, color="black", linewidth=0.8, linestyle=":")
    axis.set_ylim(0, 1)
    axis.set_xlim(0, int(frames[-1]))
    axis.set_yticks([0, 0.5, 1])
    axis.tick_params(labelsize=8)
