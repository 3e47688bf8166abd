"""Batches of windows from the clip store beside decoding each window's files, and making the store: make bench.

The frames are JPEG files of 256 x 256, as the benchmark sets are passed on, in a warm file cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mnad.data import Batches, PrepareConfig, ShuffledBatches, Windows, open_store, prepare
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

SIZE, BATCH, FRAMES_IN = 256, 4, 4
VIDEOS, FRAMES = 8, 60
BATCHES = 20  # in a measured round


class DecodedWindows(Dataset[Tensor]):
    """As the published loader does it: every frame of the window is read, resized and scaled anew."""

    def __init__(self, folders: list[list[Path]]) -> None:
        self.windows = [
            files[first : first + FRAMES_IN + 1] for files in folders for first in range(len(files) - FRAMES_IN)
        ]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Tensor:
        frames = [cv2.resize(cv2.imread(str(path)), (SIZE, SIZE)) for path in self.windows[index]]
        scaled = [frame.astype(np.float32) / 127.5 - 1 for frame in frames]
        return torch.from_numpy(np.stack(scaled)).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """Pictures with the structure of a street scene: smooth, with edges and noise that JPEG has to work on."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for video in range(VIDEOS):
            frames = Path(folder) / "set/training/frames" / f"{video:02d}"
            frames.mkdir(parents=True)
            scene = cv2.GaussianBlur(random.integers(0, 256, (SIZE, SIZE, 3), np.uint8), (0, 0), 4)
            scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX)
            for index in range(FRAMES):
                noise = random.normal(0, 4, scene.shape)
                frame = np.clip(np.roll(scene, index, axis=1) + noise, 0, 255).astype(np.uint8)
                cv2.imwrite(str(frames / f"{index:03d}.jpg"), frame)
        prepare(PrepareConfig(Path(folder) / "set", Path(folder) / "store"), progress=False)
        yield Path(folder)


def files_of(root: Path) -> list[list[Path]]:
    return [sorted(video.iterdir()) for video in sorted((root / "set/training/frames").iterdir())]


def take(batches: Iterator[Tensor]) -> None:
    for _ in range(BATCHES):
        next(batches)


def endless(begin: Callable[[], Iterator[Tensor]]) -> Iterator[Tensor]:
    while True:
        yield from begin()


@pytest.mark.parametrize("way", ["clip store", "decoding each window"])
@pytest.mark.parametrize("workers", [0, 2])
def bench_loading(benchmark: BenchmarkFixture, root: Path, way: str, workers: int) -> None:
    if way == "clip store":
        windows = Windows(open_store(root / "store").clips("training"), FRAMES_IN, "next")
        sampler = ShuffledBatches(len(windows), BATCH, seed=0)
        loader: Batches | DataLoader[Tensor] = Batches(windows, sampler, torch.device("cpu"), workers)
    else:
        decoded = DecodedWindows(files_of(root))
        loader = DataLoader(decoded, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    batches = endless(lambda: iter(loader))
    take(batches)
    benchmark.group = f"batches of {BATCH} windows, {workers} workers"
    benchmark.extra_info.update(part="data", work=benchmark.group, way=way, count=BATCHES * BATCH, unit="windows")
    benchmark.pedantic(take, args=(batches,), rounds=7)


@pytest.mark.parametrize("way", ["prepare", "cv2.imread and resize in a loop"])
def bench_preparing(benchmark: BenchmarkFixture, root: Path, tmp_path: Path, way: str) -> None:
    outs = iter(range(1000))

    def by_loop() -> None:
        for files in files_of(root):
            for path in files:
                cv2.resize(cv2.imread(str(path)), (SIZE, SIZE))

    def by_prepare() -> None:
        prepare(PrepareConfig(root / "set", tmp_path / str(next(outs))), progress=False)

    benchmark.group = "preparing"
    benchmark.extra_info.update(part="data", work=benchmark.group, way=way, count=VIDEOS * FRAMES, unit="frames")
    benchmark.pedantic(by_prepare if way == "prepare" else by_loop, rounds=5)
