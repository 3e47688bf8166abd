"""The graphs of every variant of the network, in every format, beside the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mnad.evaluation.locality import WHOLE_FRAME, Locality
from mnad.graphs.comparison import largest_differences
from mnad.graphs.folder import FORMATS, ExportedModel, GraphFormat
from mnad.graphs.scoring import record_scoring, record_update
from mnad.measuring.network import Network
from mnad.measuring.usual import Usual
from mnad.models import PRESETS, Autoencoder, MemoryConfig, ModelConfig

TOLERANCE = 1e-4
SMALL = replace(PRESETS["prediction"].model, width=4)
VARIANTS = {
    "prediction": (SMALL, 32, WHOLE_FRAME),
    "cells that divide no pixel": (SMALL, 72, Locality("box-7")),
    "in relation to the place": (SMALL, 32, Locality("top-5%", relative=True)),
    "grey, without skips": (replace(SMALL, skips=False, image_channels=1), 32, Locality("box-3")),
    "without memory": (replace(SMALL, memory=None), 32, WHOLE_FRAME),
    "reconstruction": (replace(PRESETS["reconstruction-released"].model, width=4), 32, WHOLE_FRAME),
    "one item": (replace(SMALL, memory=MemoryConfig(1)), 32, WHOLE_FRAME),
    "update by eq. 5": (replace(SMALL, memory=MemoryConfig(3, "max-assigned")), 32, WHOLE_FRAME),
}

# All in the format that is made fastest, and some in each of the others.
PAIRS: list[tuple[str, GraphFormat]] = [
    *((variant, "onnx") for variant in VARIANTS),
    ("cells that divide no pixel", "openvino"),
    ("in relation to the place", "openvino"),
    ("prediction", "pt2"),
]


def compiled(network: Network, size: int, locality: Locality, graph_format: GraphFormat) -> ExportedModel:
    graphs = {"score": record_scoring(network, size, locality)}
    if network.memory is not None:
        graphs["update"] = record_update(network, size)
    form = FORMATS[graph_format]
    return ExportedModel(
        metadata={},
        items=None,
        graphs={name: form.compile(graph, threads=1) for name, graph in graphs.items()},
        inputs={
            name: {each: tuple(size for size in shape[1:] if size is not None) for each, shape in graph.inputs.items()}
            for name, graph in graphs.items()
        },
        outputs={name: list(graph.outputs) for name, graph in graphs.items()},
    )


def windows(config: ModelConfig, size: int, batch: int) -> torch.Tensor:
    length = config.frames_in + (config.target == "next")
    return torch.randint(0, 256, (batch, length, size, size, config.image_channels), dtype=torch.uint8)


@pytest.mark.parametrize(("variant", "graph_format"), PAIRS)
def test_equals_the_network_for_any_batch(variant: str, graph_format: GraphFormat) -> None:
    config, size, locality = VARIANTS[variant]
    network = Network(Autoencoder(config), usual=Usual(torch.rand(size, size)) if locality.relative else None)
    exported = compiled(network, size, locality, graph_format)
    for batch in (1, 3):
        differences = largest_differences(exported, network, locality, windows(config, size, batch))
        assert ("distance" in differences) == (config.memory is not None)
        assert max(differences.values()) < TOLERANCE, differences


def test_each_window_has_items_of_its_own() -> None:
    network = Network(Autoencoder(SMALL))
    exported = compiled(network, 32, WHOLE_FRAME, "onnx")
    pixels = windows(SMALL, 32, 3).numpy()
    items = torch.nn.functional.normalize(torch.rand(3, 10, 32), dim=2).numpy()
    together = exported.score(pixels, items)
    moved = exported.update(together["features"], items)
    for row in range(3):
        own = exported.score(pixels[row : row + 1], items[row : row + 1])
        for name, values in own.items():
            np.testing.assert_allclose(together[name][row : row + 1], values, atol=TOLERANCE, err_msg=name)
        own_moved = exported.update(own["features"], items[row : row + 1])
        np.testing.assert_allclose(moved[row : row + 1], own_moved, atol=TOLERANCE)


def test_a_comparison_sees_a_difference() -> None:
    network, other = Network(Autoencoder(SMALL)), Network(Autoencoder(SMALL))
    exported = compiled(other, 32, WHOLE_FRAME, "pt2")
    differences = largest_differences(exported, network, WHOLE_FRAME, windows(SMALL, 32, 2))
    assert min(differences.values()) > 1e-4, differences
