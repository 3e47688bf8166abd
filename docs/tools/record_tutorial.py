"""Runs the tutorial as it stands, and records its numbers and its picture.

python docs/tools/record_tutorial.py [FOLDER]   writes docs/results/tutorial.json and docs/images/tutorial.webp
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import mnad
import numpy as np
from mnad.artifacts.measurements import Measurements
from mnad.cli import main
from mnad.data import kinds_of
from mnad.evaluation import abnormality, pooled_auc
from numpy.typing import NDArray
from pages import DOCS, blocks, commands
from PIL import Image
from provenance import provenance

VIDEO, FRAMES, WIDTH = "05", slice(30, 90), 360


def record(folder: Path) -> None:
    """Runs the blocks in a folder, and writes what came of them."""
    stamp = provenance("python docs/tools/record_tutorial.py")
    began = time.perf_counter()
    os.chdir(folder)
    names: dict[str, object] = {}
    for block in blocks(DOCS / "tutorial.md"):
        if block.language == "python":
            exec(compile(block.text, f"tutorial.md:{block.line}", "exec"), names)
        for command in commands(block) if block.language == "sh" else ():
            if main(command) != 0:
                raise SystemExit(f"mnad {' '.join(command)} failed")
    outcome = mnad.evaluate("runs/gate", threshold="calibrated")
    result = {
        **stamp,
        "seconds": round(time.perf_counter() - began),
        "published": aucs(outcome.measurements, abnormality(outcome.measurements)),
        "deployed": aucs(outcome.measurements, outcome.scores),
        "threshold": outcome.calibration.thresholds[0].threshold,
        "detection": asdict(outcome.detection.metrics),
        "alarms_in_first_video": len(names["alarms"]),
    }
    (DOCS / "results" / "tutorial.json").write_text(json.dumps(result, indent=2) + "\n")
    animate(Path("videos") / f"{VIDEO}.mp4", DOCS / "images" / "tutorial.webp")


def aucs(measurements: Measurements, scores: NDArray[np.float64]) -> dict[str, Any]:
    """Returns the frame AUC of all videos, and of those of each kind of anomaly."""
    kinds = kinds_of(Path("data/gate"))
    kind = np.array([kinds[measurements.videos[index]] for index in measurements.video])
    by_kind = {name: pooled_auc(measurements, scores, kind == name) for name in dict.fromkeys(kinds.values())}
    return {"auc": pooled_auc(measurements, scores), "auc_by_kind": by_kind}


def animate(video: Path, out: Path) -> None:
    """Writes part of an overlay as an animation."""
    capture = cv2.VideoCapture(str(video))
    pictures = []
    while (read := capture.read())[0]:
        pixels = cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
        height = round(WIDTH * pixels.shape[0] / pixels.shape[1])
        pictures.append(Image.fromarray(cv2.resize(pixels, (WIDTH, height), interpolation=cv2.INTER_AREA)))
    first, *others = pictures[FRAMES]
    first.save(out, save_all=True, append_images=others, duration=100, loop=0, quality=70, method=6)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        record(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            record(Path(temporary))
