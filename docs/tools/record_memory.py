"""Measures what other memories would do to the scores, on UCSD Ped2 and on scenes of real cameras with composed events.

MNAD_PED2=FOLDER MNAD_VIDEOS=FOLDER python docs/tools/record_memory.py RUNS    writes docs/results/memory.json

RUNS is a folder for what is done; what is there is not done again. It takes hours.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory_variants import LEARNING_RATE, SIZE, VARIANTS, WIDTH, WINDOWS, refitted, trained
from mnad.analysis import Probe, probed
from mnad.data import Clips, Windows, open_clips
from mnad.data.clips import evenly, tails
from mnad.evaluation.scores import Scoring
from mnad.measuring import measure
from mnad.measuring.network import Network
from mnad.models import Autoencoder
from mnad.models.memory_health import MemoryHealth, count_nearest, memory_health
from mnad.pipeline.learn_usual import learn_usual
from mnad.reproduction.runner import Runner
from mnad.reproduction.scale import SCALES, CameraScale
from mnad.reproduction.scenes import SHARE_HELD_OUT, Scene, SceneMeasurements, find_scenes
from mnad.reproduction.strangers import LAMBDAS, aucs_of, headline_column
from mnad.runtime.progress import print_line
from pages import DOCS
from provenance import provenance
from torch import Tensor

SEEDS = (0, 1, 2)
REFITTED = (10, 50)


def record(runs: Path) -> None:
    """Trains each variant on each scene with each seed, and writes what came out."""
    stamp = provenance("python docs/tools/record_memory.py RUNS")
    camera = CameraScale(SIZE, WIDTH, WINDOWS, LEARNING_RATE)
    data: Any = {"strangers": Path(os.environ["MNAD_VIDEOS"]), "ped2": Path(os.environ["MNAD_PED2"])}
    runner = Runner(runs, data, replace(SCALES["small"], camera=camera), accelerator="cpu", cache=runs / "cache")
    scenes = [scene for scene in find_scenes(runner) if scene.name != "synthetic"]
    rows = []
    for name in VARIANTS:
        for scene in scenes:
            for seed in SEEDS:
                file = runs / f"{name}-{scene.name}-{seed}.json".replace(" ", "-")
                if not file.is_file():
                    file.write_text(json.dumps(_measured(runner, name, scene, seed)))
                    print_line(f"{name}, {scene.name}, seed {seed}")
                rows.append(json.loads(file.read_text()))
    model = {"size": SIZE, "width": WIDTH, "windows": WINDOWS, "learning_rate": LEARNING_RATE}
    result = {**stamp, "model": model, "rows": rows}
    (DOCS / "results" / "memory.json").write_text(json.dumps(result, indent=1) + "\n")


def _measured(runner: Runner, name: str, scene: Scene, seed: int) -> dict[str, Any]:
    """Trains a variant on a scene and measures it."""
    normal, testing = (
        open_clips(scene.data, split, SIZE, cache=runner.cache, progress=False) for split in ("training", "testing")
    )
    windows = Windows(normal, 4, "next", hold_out=SHARE_HELD_OUT)
    model = trained(VARIANTS[name], windows, seed)
    with tempfile.TemporaryDirectory() as folder:
        held_out_clips = tails(normal, SHARE_HELD_OUT, Path(folder))
        held_out, usual = learn_usual(model, held_out_clips)
        empty = measure(probed(model, Probe(readout=True)), held_out_clips, update="none", progress=False)
        test = measure(model, testing, usual=usual, progress=False)
        found = SceneMeasurements(held_out, test, None, testing, usual)  # type: ignore[arg-type]
        row = {"variant": name, "scene": scene.name, "seed": seed, "psnr": float(held_out.psnr.mean())}
        row["psnr lost by an empty readout"] = row["psnr"] - float(empty.psnr.mean())
        row |= _health(_own_health(model, testing)) | _by_weight("", scene, found)
        if name == "published":
            for items in REFITTED:
                row |= _refitted(model, windows, held_out_clips, scene, found, items)
    return row


def _by_weight(prefix: str, scene: Scene, found: SceneMeasurements) -> dict[str, float]:
    """Returns the AUC of the score for cameras at each lambda."""
    return {f"{prefix}{weight}": _auc(scene, found, scoring) for weight, scoring in LAMBDAS.items()}


def _auc(scene: Scene, found: SceneMeasurements, scoring: Scoring) -> float:
    values = aucs_of(scene, found, scoring)
    value = values[headline_column(values)]
    assert value is not None
    return value


def _features(network: Network, windows: Windows, chosen: Any) -> Iterator[Tensor]:
    for first in range(0, len(chosen), 8):
        yield network.encode(windows.__getitems__(chosen[first : first + 8])).features


@torch.inference_mode()
def _own_health(model: Autoencoder, clips: Clips) -> MemoryHealth:
    assert model.memory is not None
    network, windows = Network(model), Windows(clips, 4, "next")
    items = model.memory.items
    features = _features(network, windows, evenly(len(windows), 600))
    return memory_health(
        torch.stack([count_nearest(network.read(each, items).nearest, len(items)) for each in features]).sum(0), items
    )


def _health(health: MemoryHealth) -> dict[str, float]:
    return {
        "items in use": health.items_in_use,
        "perplexity": health.perplexity,
        "positional share": health.positional_share,
        "H(item)": health.entropy_bits,
        "H(item | position)": health.entropy_at_position_bits,
    }


@torch.inference_mode()
def _refitted(
    model: Autoencoder, windows: Windows, held_out_clips: Clips, scene: Scene, found: SceneMeasurements, items: int
) -> dict[str, float]:
    """Fits the items anew and lets D be the distance from these."""
    network = Network(model)
    chosen = evenly(len(windows), 1000)
    fitted = refitted(torch.cat(list(_features(network, windows, chosen))), items)
    distances, counts = [], []
    for clips in (held_out_clips, found.clips):
        every = Windows(clips, 4, "next")
        nearest = [fitted.nearest(each) for each in _features(network, every, range(len(every)))]
        distances.append(np.concatenate([far.double().mean(dim=(1, 2)).numpy() for far, _ in nearest]))
        counts.append(torch.stack([count_nearest(which, items) for _, which in nearest]).sum(0))
    held_out = replace(found.held_out, distance=distances[0])
    anew = replace(found, held_out=held_out, test=replace(found.test, distance=distances[1]))
    prefix = f"refitted {items}: "
    health = {f"{prefix}{key}": value for key, value in _health(memory_health(counts[1], fitted.items)).items()}
    return _by_weight(prefix, scene, anew) | health


if __name__ == "__main__":
    torch.set_num_threads(1)
    record(Path(sys.argv[1]))
