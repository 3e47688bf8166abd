"""Times and sizes: how long training took, how long a frame takes, how large the networks are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import torch

from mnad.measuring import update_errors
from mnad.models import PRESETS, Autoencoder
from mnad.reproduction.published import INFERENCE_SECONDS, MEGABYTES, MINUTES, MODELS, PAPER_SECONDS, PREDICTION
from mnad.reproduction.results import Result, Value
from mnad.reproduction.runner import Look, Run, Workshop, training_seconds
from mnad.reproduction.scale import TITLES

WARM_UP, FRAMES = 5, 50


def training_runs(workshop: Workshop, seeds: Sequence[int]) -> list[Look]:
    """Lists the runs that table 1 needs."""
    return [Look(Run(preset, dataset, seed=seeds[0])) for dataset in workshop.there() for preset in MODELS]


def table1(workshop: Workshop, seeds: Sequence[int]) -> Result:
    """Minutes of training."""
    rows: list[dict[str, Value]] = []
    for dataset in workshop.there():
        for preset, model in MODELS.items():
            ours = training_seconds(workshop.folder_of(Run(preset, dataset, seed=seeds[0]))) / 60
            report = MINUTES[preset][dataset]
            rows.append(
                {
                    "data": TITLES[dataset],
                    "model": model,
                    "epochs": workshop.scale.epochs[dataset],
                    "ours, min": ours,
                    "report, min": report,
                    "ours - report": ours - report,
                }
            )
    return Result(
        "table1",
        "training time",
        rows,
        ["The report's times are those of an RTX 2080 Ti at full scale; another device or scale gives other times."],
        missing=workshop.missing(),
    )


def tables2_and_3(workshop: Workshop, seeds: Sequence[int]) -> Result:
    """Seconds a frame and megabytes."""
    rows: list[dict[str, Value]] = []
    for preset, model in MODELS.items():
        network = Autoencoder(replace(PRESETS[preset].model, width=workshop.scale.width))
        seconds = _seconds_a_frame(network, workshop)
        rows.append(
            {
                "model": model,
                "ours, s a frame": seconds,
                "report, s": INFERENCE_SECONDS.get(preset),
                "paper, s": PAPER_SECONDS if preset == PREDICTION else None,
                "ours, MB": _megabytes(network),
                "report, MB": MEGABYTES.get(preset),
                "at width 64, MB": _megabytes(Autoencoder(PRESETS[preset].model)),
            }
        )
    return Result(
        "table2-3",
        "inference time and size",
        rows,
        [
            f"Median of {FRAMES} frames one by one, each with the measurements of a score and the update of the items; "
            "decoding of video is not part of it. The report's and the paper's devices are GPUs of 2020. Megabytes "
            "are float32 weights over 10^6, without buffers.",
            "The report prints 42.7 MB for reconstruction, which its own code does not give (59.49).",
        ],
    )


@torch.inference_mode()
def _seconds_a_frame(network: Autoencoder, workshop: Workshop) -> float:
    device = workshop.device()
    network.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    channels = network.config.frames_in * network.config.image_channels
    size = workshop.scale.size
    frames = torch.rand(1, channels, size, size, device=device).contiguous(memory_format=torch.channels_last)
    taken = []
    for _ in range(WARM_UP + FRAMES):
        began = time.perf_counter()
        restored = network(frames)
        errors = ((restored.frames - frames[:, -network.config.image_channels :]) / 2).square()
        float(update_errors(errors))  # waits for the device
        if network.memory is not None:
            network.memory.update(restored.features)
        taken.append(time.perf_counter() - began)
    return median(taken[WARM_UP:])


def _megabytes(network: Autoencoder) -> float:
    return sum(weight.numel() for weight in network.parameters()) * 4 / 1e6
