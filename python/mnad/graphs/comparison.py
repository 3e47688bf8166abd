"""An exported model beside the model that it was made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnad.evaluation.locality import Locality
from mnad.graphs.folder import ExportedModel
from mnad.measuring.network import DISTANCE, Network

SMALLEST = 1e-12  # D of a trained model may be as small as 1e-7
Outputs = dict[str, NDArray[Any]]


@torch.inference_mode()
def largest_differences(
    exported: ExportedModel, network: Network, locality: Locality, pixels: Tensor
) -> dict[str, float]:
    """Returns for each output how far the two lie apart at most, as a share of its largest value.

    Args:
        exported: What was exported of the model.
        network: The model, made ready for scoring.
        locality: Which part of the frame P is of.
        pixels: (B, T, S, S, C_img) uint8, windows.
    """
    original = _original(network, locality, pixels)
    items = None
    if network.memory is not None:
        items = network.memory.items.expand(len(pixels), -1, -1).numpy().copy()
    found = exported.score(pixels.numpy(), items)
    if items is not None:
        found["new_items"] = exported.update(found["features"], items)
    assert set(found) == set(original)
    return {name: _difference(found[name], values) for name, values in original.items()}


def _original(network: Network, locality: Locality, pixels: Tensor) -> Outputs:
    block, rows = network.encode(pixels), range(len(pixels))
    items = None if network.memory is None else network.memory.items.expand(len(pixels), -1, -1)
    decoded = block.restore(rows, items)
    outputs: Outputs = {
        "predicted": decoded.frames.numpy(),
        "error_map": decoded.error_map.numpy(),
        "psnr": decoded.psnr_of(locality),
        "update_error": decoded.update_errors,
        "features": block.features.numpy(),
    }
    if items is not None:
        outputs["distance"] = decoded.metrics[:, DISTANCE]
        outputs["weights"] = network.read(block.features, items).weights.numpy()
        outputs["new_items"] = block.update(rows, items).numpy()
    return outputs


def _difference(found: NDArray[Any], original: NDArray[Any]) -> float:
    if found.shape != original.shape:
        raise ValueError(f"the shapes {found.shape} and {original.shape} differ")
    return float(np.abs(found - original).max() / max(SMALLEST, np.abs(original).max()))
