"""Scoring with and without the test-time update, frame by frame and in batches, beside the published loop: make bench.

The published loop is the same network in float32, contiguous and eager, with BatchNorm and the memory of
mnad_ext.reference, one frame after the other. "often" is an update at the median E_t, where decisions flip often;
the networks are not trained, so that their E_t says little of real video.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from mnad.data import Clips, Windows, to_frames
from mnad.measuring import UpdateScope, measure, update_errors
from mnad.models import Autoencoder
from networks import DEVICE, NETWORKS, build, memory_of
from pytest_benchmark.fixture import BenchmarkFixture

VIDEOS, SCORED, BATCH = 4, 16, 8  # scored frames of each video
WAYS: dict[str, tuple[int, UpdateScope]] = {
    "mnad_ext, batches": (BATCH, "carried-over"),
    "mnad_ext, batches, per video": (BATCH, "per-video"),
    "mnad_ext, frame by frame": (1, "carried-over"),
}
PUBLISHED = "published loop, reference"
CASES = [(update, way) for update in ("none", "each frame", "often") for way in (*WAYS, PUBLISHED)]
CASES.remove(("none", "mnad_ext, batches, per video"))


def make_clips(size: int) -> Clips:
    """Noise that is stronger in some frames, so that E_t differs."""
    random = np.random.default_rng(0)
    length = SCORED + 4
    loudness = random.uniform(5, 60, VIDEOS * length)[:, None, None, None]
    frames = np.clip(128 + loudness * random.normal(size=(VIDEOS * length, size, size, 1)), 0, 255).astype(np.uint8)
    return Clips(
        frames=frames,
        names=tuple(map(str, range(VIDEOS))),
        starts=np.arange(VIDEOS + 1, dtype=np.int64) * length,
        labels=None,
        label_source="none",
        packed_masks=None,
        masked_videos=(False,) * VIDEOS,
    )


def published_loop(model: Autoencoder, windows: Windows, threshold: float) -> None:
    memory = memory_of(model)
    with torch.no_grad():
        for index in range(len(windows)):
            frames = to_frames(windows[index][None].to(DEVICE))
            restored = model(frames[:, :4].flatten(1, 2))
            errors = ((restored.frames - frames[:, 4]) / 2).square()
            assert restored.memory is not None
            torch.stack([errors.mean(), restored.memory.compactness[0]]).tolist()
            if bool(update_errors(errors) < threshold):
                memory.update(restored.features)


@pytest.mark.parametrize(("update", "way"), CASES)
@pytest.mark.parametrize("network", NETWORKS)
def bench_scoring(benchmark: BenchmarkFixture, network: str, update: str, way: str) -> None:
    size, width = NETWORKS[network]
    clips = make_clips(size)
    threshold = {"none": 0.0, "each frame": 1.0, "often": median_update_error(width, clips)}[update]
    model = build(width, plain=way == PUBLISHED).eval()
    if way == PUBLISHED:
        work = partial(published_loop, model, Windows(clips, 4, "next"), threshold)
    else:
        batch_size, scope = WAYS[way]
        scope = "none" if update == "none" else scope
        work = partial(
            measure, model, clips, update=scope, update_threshold=threshold, batch_size=batch_size, progress=False
        )
    benchmark.group = f"scoring, {network}, update {update}"
    benchmark.extra_info.update(part="scoring", work=benchmark.group, way=way, count=VIDEOS * SCORED, unit="frames")
    benchmark.pedantic(work, rounds=5, warmup_rounds=1)


def median_update_error(width: int, clips: Clips) -> float:
    found = measure(build(width, plain=False), clips, update="none", batch_size=BATCH, progress=False)
    return float(np.median(found.update_error))
