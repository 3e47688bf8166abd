"""Small clips made on the spot."""

from __future__ import annotations

import numpy as np
from mnad.data import Clips


def random_clips(*lengths: int, size: int = 16, channels: int = 1, seed: int = 0) -> Clips:
    """Videos of a smooth picture that drifts, with noise that comes and goes so that some frames are hard."""
    random = np.random.default_rng(seed)
    frames = []
    for length in lengths:
        picture = np.cumsum(random.normal(0, 20, (size, size, channels)), axis=1) + 128
        loudness = random.choice([0.0, 60.0], length)[:, None, None, None]
        moved = np.stack([np.roll(picture, index, axis=1) for index in range(length)])
        frames.append(np.clip(moved + loudness * random.normal(size=moved.shape), 0, 255).astype(np.uint8))
    return clips_of(*frames)


def clips_of(*videos: np.ndarray) -> Clips:  # type: ignore[type-arg]
    """Clips of given frames, each video (F, H, W, 1 or 3)."""
    return Clips(
        frames=np.concatenate(videos),
        names=tuple(f"{index + 1:02d}" for index in range(len(videos))),
        starts=np.cumsum([0, *map(len, videos)]).astype(np.int64),
        labels=None,
        label_source="none",
        packed_masks=None,
        masked_videos=(False,) * len(videos),
    )
