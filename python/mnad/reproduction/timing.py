"""Times and sizes: how long training took, how long a frame takes, how large the networks are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import torch

from mnad.measuring import update_errors
from mnad.models import PRESETS, Autoencoder
from mnad.reproduction.published import INFERENCE_SECONDS, MEGABYTES, MINUTES, MODELS, ORIGINAL_SECONDS, PREDICTION
from mnad.reproduction.results import Result, Value
from mnad.reproduction.runner import MeasurementSpec, Runner, TrainingSpec, training_seconds
from mnad.reproduction.scale import TITLES

WARM_UP, FRAMES = 5, 50


def training_time_specs(runner: Runner, seeds: Sequence[int]) -> list[MeasurementSpec]:
    """Returns the specs of the trainings that table 1 needs."""
    return [
        MeasurementSpec(TrainingSpec(preset, dataset, seed=seeds[0]))
        for dataset in runner.available()
        for preset in MODELS
    ]


def table1(runner: Runner, seeds: Sequence[int]) -> Result:
    """Minutes of training."""
    rows: list[dict[str, Value]] = []
    for dataset in runner.available():
        for preset, model in MODELS.items():
            ours = training_seconds(runner.folder_of(TrainingSpec(preset, dataset, seed=seeds[0]))) / 60
            published = MINUTES[preset][dataset]
            rows.append(
                {
                    "data": TITLES[dataset],
                    "model": model,
                    "epochs": runner.scale.epochs[dataset],
                    "ours, min": ours,
                    "paper, min": published,
                    "ours - paper": ours - published,
                }
            )
    return Result(
        "table1",
        "training time",
        rows,
        ["The paper's times are those of an RTX 2080 Ti at full scale; another device or scale gives other times."],
        missing=runner.missing(),
    )


def tables2_and_3(runner: Runner, seeds: Sequence[int]) -> Result:
    """Seconds a frame and megabytes."""
    rows: list[dict[str, Value]] = []
    for preset, model in MODELS.items():
        network = Autoencoder(replace(PRESETS[preset].model, width=runner.scale.width))
        seconds = _seconds_a_frame(network, runner)
        rows.append(
            {
                "model": model,
                "ours, s a frame": seconds,
                "paper, s": INFERENCE_SECONDS.get(preset),
                "original paper, s": ORIGINAL_SECONDS if preset == PREDICTION else None,
                "ours, MB": _megabytes(network),
                "paper, MB": MEGABYTES.get(preset),
                "at width 64, MB": _megabytes(Autoencoder(PRESETS[preset].model)),
            }
        )
    return Result(
        "table2-3",
        "inference time and size",
        rows,
        [
            f"Median of {FRAMES} frames one by one, each with the measurements of a score and the update of the items; "
            "decoding of video is not part of it. The paper and the original paper measured on GPUs of 2020. Megabytes "
            "are float32 weights over 10^6, without buffers.",
            "The paper prints 42.7 MB for reconstruction, which its own code does not give (59.49).",
        ],
    )


@torch.inference_mode()
def _seconds_a_frame(network: Autoencoder, runner: Runner) -> float:
    device = runner.device()
    network.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    channels = network.config.frames_in * network.config.image_channels
    size = runner.scale.size
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
