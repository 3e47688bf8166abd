from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from mnad.measuring import fold_batchnorm
from mnad.models import PRESETS, Autoencoder, PresetName
from torch import nn


def lived_in(model: Autoencoder) -> Autoencoder:
    """Returns BatchNorm the statistics and weights of a network that has learned something."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.1, 4)
    return model.eval()


@pytest.mark.parametrize("preset", ["prediction", "reconstruction", "reconstruction-released", "prediction-no-memory"])
def test_a_folded_network_computes_the_same(preset: PresetName) -> None:
    """In float64, where rounding cannot hide a mistake."""
    model = lived_in(Autoencoder(replace(PRESETS[preset].model, width=4))).double()
    folded = fold_batchnorm(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    transposed = [module for module in folded.modules() if isinstance(module, nn.ConvTranspose2d)]
    assert len(transposed) == 3
    frames = torch.rand(2, model.config.frames_in * 3, 24, 32, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        expected, found = model(frames), folded(frames)
    torch.testing.assert_close(found.frames, expected.frames, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(found.features, expected.features, rtol=1e-11, atol=1e-12)
    assert expected.frames.std() > 0.01


def test_the_model_itself_stays_as_it_is() -> None:
    model = lived_in(Autoencoder(replace(PRESETS["prediction"].model, width=4))).train()
    before = copy.deepcopy(model.state_dict())
    fold_batchnorm(model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert len(before) == len(model.state_dict())
