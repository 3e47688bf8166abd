"""Scores in batches beside scores frame by frame, on real data: they must be the same.

python bench/compare_batches.py CHECKPOINT DATA [--batch-size 8] [--out FILE.json]

For no update and both scopes, at the published threshold and at the median E_t, where decisions flip often, it prints
the largest relative difference of any figure, the decisions that differ, how close any E_t comes to the threshold, and
the speed. On a machine that does other work too, believe the processor time rather than the frames per second.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.measurements import Measurements
from mnad.data import Clips, open_clips
from mnad.measuring import UpdateScope, measure
from mnad.models import Autoencoder
from mnad.models.presets import RECIPES
from mnad.runtime.files import atomic_write

FIGURES = ("mse", "distance", "update_error")
Row = dict[str, Any]
COLUMNS = (
    "update", "threshold", "updates", "flips", "largest_difference", "decisions_that_differ", "closest_to_threshold",
    "decodings_per_frame", "frames_per_second_1", "frames_per_second", "cpu_ms_1", "cpu_ms",
)  # fmt: skip


def timed(model: Autoencoder, clips: Clips, **choices: Any) -> tuple[Measurements, float]:
    """Measures, and gives the milliseconds of processor time a frame."""
    began = time.process_time()
    measured = measure(model, clips, **choices)
    return measured, 1e3 * (time.process_time() - began) / len(measured)


def compare(
    model: Autoencoder, clips: Clips, update: UpdateScope, threshold: float, batch_size: int
) -> tuple[Row, Measurements]:
    one, cpu_one = timed(model, clips, update=update, update_threshold=threshold, batch_size=1)
    many, cpu_many = timed(model, clips, update=update, update_threshold=threshold, batch_size=batch_size)
    differences = [np.abs(getattr(many, name) / getattr(one, name) - 1).max() for name in FIGURES]
    return {
        "update": update,
        "threshold": threshold,
        "updates": int(many.updated.sum()),
        "flips": int(np.count_nonzero(np.diff(many.updated))),
        "largest_difference": float(max(differences)),
        "decisions_that_differ": int(np.count_nonzero(one.updated != many.updated)),
        "closest_to_threshold": float(np.abs(many.update_error / threshold - 1).min()),
        "decodings_per_frame": many.protocol["decodings_per_frame"],
        "frames_per_second_1": one.protocol["frames_per_second"],
        "frames_per_second": many.protocol["frames_per_second"],
        "cpu_ms_1": round(cpu_one, 2),
        "cpu_ms": round(cpu_many, 2),
    }, many


def print_row(row: Row) -> None:
    cells = [f"{row[name]:.3g}" if isinstance(row[name], float) else str(row[name]) for name in COLUMNS]
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    model = checkpoint.build_model()
    size = checkpoint.training["size"]
    clips = open_clips(options.data, "testing", size, image_channels=model.config.image_channels)
    print(f"batch {options.batch_size} beside batch 1 (_1); differences are relative")
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    published = RECIPES[model.config.task].update_threshold
    row, still = compare(model, clips, "none", published, options.batch_size)
    rows = [row]
    print_row(row)
    for threshold in (published, float(np.median(still.update_error))):
        for scope in ("carried-over", "per-video"):
            rows.append(compare(model, clips, scope, threshold, options.batch_size)[0])
            print_row(rows[-1])
    if options.out:
        with atomic_write(options.out) as temporary:
            temporary.write_text(json.dumps({"protocol": still.protocol, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
