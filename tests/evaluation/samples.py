"""Made-up measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mnad.artifacts.measurements import ARRAYS, Measurements
from mnad.measuring import psnr
from mnad.measuring.pooling import LOCAL_POOLINGS
from numpy.typing import NDArray


def measurements(
    lengths: Sequence[int] = (20, 20, 20), *, memory: bool = True, seed: int = 0, **protocol: object
) -> Measurements:
    """Random measurements of videos of some lengths, about 40 % of their frames abnormal."""
    random = np.random.default_rng(seed)
    count = sum(lengths)
    mse = random.uniform(1e-4, 1e-2, count)
    local = random.uniform(1, 10, (2, count, len(LOCAL_POOLINGS)))
    return Measurements(
        videos=tuple(f"{index + 1:02d}" for index in range(len(lengths))),
        video=np.repeat(np.arange(len(lengths)), lengths),
        frame=np.concatenate([np.arange(length) + 4 for length in lengths]),
        mse=mse,
        psnr=psnr(mse),
        distance=random.uniform(0, 1, count) if memory else np.full(count, np.nan),
        local_psnr=psnr(mse)[:, None] - local[0],
        relative_psnr=local[1],
        update_error=mse,
        updated=mse < 1e-3,
        nearest=np.full((count, 10 if memory else 0), 2, np.int32),
        poolings=LOCAL_POOLINGS,
        labels=random.uniform(size=count) < 0.4,
        protocol={
            "task": "prediction",
            "memory": memory,
            "labels": "made up",
            "update": "none",
            "update_threshold": None,
            "size": 32,
            "preset": "prediction",
            "epoch": 2,
            "step": 36,
            "weights": "made up",
            **protocol,
        },
    )


def rows(m: Measurements, chosen: NDArray[Any]) -> Measurements:
    """The same measurements with some of their frames, in the order that is given."""
    arrays = {name: getattr(m, name)[chosen] for name in ARRAYS}
    return replace(m, **arrays, labels=None if m.labels is None else m.labels[chosen])
