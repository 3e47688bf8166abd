"""Runs made by hand: every picture tells its frame by its brightness."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mnad.artifacts.checkpoint import Checkpoint, save_checkpoint
from mnad.artifacts.maps import FrameMaps, maps_beside, save_maps
from mnad.artifacts.measurements import Measurements, save_measurements
from mnad.measuring.pooling import LOCAL_POOLINGS
from mnad.models import Autoencoder, MemoryConfig, ModelConfig
from mnad.models.identity import weights_hash
from mnad.pipeline.evaluate import EvaluateConfig
from mnad.report.judgement import Judgement, judge
from mnad.report.material import Material, load_material
from numpy.typing import NDArray

FIRST_FRAME, ITEMS = 4, 10
VIDEOS = {"01": 150, "02": 5, "03": 80}


def level(frame: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """The grey level of a frame's picture: neighbours differ by much."""
    return np.asarray(frame) * 37 % 200 + 20


def abnormal(frame: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (frame >= 40) & (frame < 70)


def write_run(
    folder: Path,
    videos: Mapping[str, int] = VIDEOS,
    *,
    memory: bool = True,
    labelled: bool = True,
    channels: int = 1,
    noise: bool = False,
) -> Path:
    """Writes a whole run: checkpoint, curves, measurements and maps."""
    generator = np.random.default_rng(0)
    video = np.repeat(np.arange(len(videos)), list(videos.values()))
    frame = np.concatenate([np.arange(count) for count in videos.values()]) + FIRST_FRAME
    labels = abnormal(frame)
    N = len(frame)
    mse = np.where(labels, 0.02, 0.002) * generator.uniform(0.5, 1.5, N)
    config = ModelConfig(width=2, memory=MemoryConfig(ITEMS) if memory else None)
    state = Autoencoder(config).state_dict()
    measurements = Measurements(
        videos=tuple(videos),
        video=video,
        frame=frame,
        mse=mse,
        psnr=10 * np.log10(1 / mse),
        distance=np.where(labels, 0.02, 0.01) + generator.uniform(0, 0.005, N) if memory else np.full(N, np.nan),
        local_psnr=np.repeat(10 * np.log10(0.2 / mse[:, None]), len(LOCAL_POOLINGS), axis=1),
        relative_psnr=np.full((N, len(LOCAL_POOLINGS)), np.nan),
        update_error=mse,
        updated=np.zeros(N, bool),
        nearest=generator.integers(0, 9, (N, ITEMS if memory else 0)).astype(np.int32),
        poolings=LOCAL_POOLINGS,
        labels=labels if labelled else None,
        protocol={
            "task": "prediction",
            "memory": memory,
            "labels": "by hand" if labelled else None,
            "update": "carried-over" if memory else "none",
            "update_threshold": 0.01 if memory else None,
            "version": "0.1.0",
            "preset": "prediction" if memory else "prediction-no-memory",
            "epoch": 2,
            "step": 20,
            "weights": weights_hash(state),
            "checkpoint": str(folder),
            "data": str(folder / "gone"),
            "size": 32,
        },
    )
    tiles = np.broadcast_to(level(frame)[:, None, None, None], (N, 32, 32, channels)).astype(np.uint8)
    if noise:
        tiles = generator.integers(0, 255, tiles.shape).astype(np.uint8)
    error = np.zeros((N, 32, 32), np.float16)
    error[labels, 8:16, 8:16] = 0.04
    distance = generator.uniform(0, 0.02, (N, 4, 4)).astype(np.float16) if memory else None
    folder.mkdir(parents=True)
    training = {"data": "by hand", "preset": measurements.protocol["preset"], "size": 32}
    save_checkpoint(folder / "checkpoint.safetensors", Checkpoint(config, state, training, 2, 20, None))
    (folder / "curves").mkdir()
    (folder / "curves" / "metrics.csv").write_text(
        "step,loss,pixel,psnr,compactness,positional_share\n1,0.5,0.4,20,0.00001,0.8\n2,0.1,0.1,nan,,0.7\n"
    )
    save_measurements(folder / "measurements.npz", measurements)
    save_maps(maps_beside(folder / "measurements.npz"), FrameMaps(error, distance, tiles, 255 - tiles), measurements)
    return folder


def judged(run: Path, **options: object) -> tuple[Material, Judgement]:
    material = load_material(run)
    return material, judge(EvaluateConfig(run, **options))  # type: ignore[arg-type]
