"""What a frame is measured by, at sizes where its error map is smaller than it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mnad.measuring.metrics import psnr
from mnad.measuring.network import DISTANCE, LOCAL, MSE, DecodedRows, Network
from mnad.measuring.pooling import LOCAL_POOLINGS
from mnad.measuring.usual import Usual
from mnad.models import Autoencoder, MemoryConfig, ModelConfig

SIZE = 96


def decoded(memory: bool = True, usual: bool = True) -> tuple[DecodedRows, Network]:
    torch.manual_seed(0)
    config = ModelConfig(width=4, memory=MemoryConfig(10) if memory else None)
    model = Autoencoder(config).eval()
    pixels = torch.randint(0, 256, (3, 5, SIZE, SIZE, 3), dtype=torch.uint8)
    network = Network(model, usual=Usual(torch.full((64, 64), -12.0)) if usual else None)
    items = None if network.memory is None else network.memory.items
    with torch.inference_mode():
        return network.encode(pixels).restore(range(3), items), network


def test_local_measurements_are_of_the_maps() -> None:
    rows, network = decoded()
    errors = rows.error_map.double()
    assert errors.shape == (3, 64, 64)
    np.testing.assert_allclose(errors.mean(dim=(1, 2)), rows.metrics[:, MSE], rtol=1e-5)
    assert rows.distance_map is not None
    assert network.usual is not None
    for column, name in enumerate(LOCAL_POOLINGS):
        if not name.startswith("box-"):
            continue
        side = int(name.removeprefix("box-"))
        windows = errors.unfold(1, side, 1).unfold(2, side, 1).mean(dim=(3, 4)).amax(dim=(1, 2)).numpy()
        np.testing.assert_allclose(rows.metrics[:, LOCAL["local_psnr"]][:, column], psnr(windows), rtol=1e-5)
        levels = 10 * torch.log10(errors + 1e-4) + 3  # a quarter of the usual -12 dB is taken off
        excess = levels.unfold(1, side, 1).unfold(2, side, 1).mean(dim=(3, 4)).amax(dim=(1, 2)).numpy()
        np.testing.assert_allclose(rows.metrics[:, LOCAL["relative_psnr"]][:, column], -excess, rtol=1e-4)
    assert (rows.metrics[:, LOCAL["local_psnr"]] < psnr(rows.metrics[:, MSE])[:, None]).all()
    distances = rows.distance_map.mean(dim=(1, 2)).numpy() / network.config.channels
    np.testing.assert_allclose(rows.metrics[:, DISTANCE], distances, rtol=1e-5)


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("usual", [True, False])
def test_what_is_not_known_is_nan(memory: bool, usual: bool) -> None:
    metrics = decoded(memory, usual)[0].metrics
    assert np.isfinite(metrics[:, LOCAL["local_psnr"]]).all()
    assert (np.isfinite(metrics[:, LOCAL["relative_psnr"]]) == usual).all()
    assert (np.isfinite(metrics[:, DISTANCE]) == memory).all()


def test_a_callers_autocast_changes_nothing() -> None:
    expected = decoded()[0].metrics
    with torch.autocast("cpu", torch.bfloat16):
        rows = decoded()[0]
    assert rows.error_map.dtype == torch.float32
    np.testing.assert_array_equal(rows.metrics, expected)
