from __future__ import annotations

import numpy as np
import pytest
import torch
from mnad.models import Autoencoder, MemoryConfig, ModelConfig
from mnad.training.losses import LossWeights, add_noise, losses_of, supervision


@pytest.fixture
def model() -> Autoencoder:
    return Autoencoder(ModelConfig(width=4, memory=MemoryConfig(num_items=3)))


def test_the_total_is_the_weighted_sum(model: Autoencoder) -> None:
    restored = model(torch.rand(2, 12, 32, 32) * 2 - 1)
    target = torch.rand(2, 3, 32, 32) * 2 - 1
    losses = losses_of(restored, target, LossWeights(0.5, 0.25, 2.0))
    expected = losses.pixel + 0.5 * losses.compactness + 0.25 * losses.separateness + 2 * losses.supervision
    torch.testing.assert_close(losses.total, expected)
    assert all(part > 0 for part in losses)


def test_a_weight_of_0_leaves_a_loss_out_entirely(model: Autoencoder) -> None:
    restored = model(torch.rand(2, 12, 32, 32) * 2 - 1)
    broken = restored.memory._replace(compactness=restored.memory.compactness * torch.nan)
    losses = losses_of(restored._replace(memory=broken), restored.frames.detach(), LossWeights(0, 0.1, 0))
    assert losses.total.isfinite()
    assert losses.compactness == losses.supervision == 0


@pytest.mark.parametrize(("B", "M", "H", "W"), [(1, 10, 4, 4), (3, 10, 8, 6), (5, 4, 3, 5), (2, 1, 2, 2)])
def test_supervision_is_the_reports_matrix(B: int, M: int, H: int, W: int) -> None:
    weights = torch.rand(B, M, H, W, dtype=torch.float64).softmax(1)
    matrix = weights.permute(0, 2, 3, 1).reshape(B * H * W, M).numpy()
    ideal = np.zeros((B * H * W, M))
    for frame in range(B):
        for k in range(H * W):
            ideal[frame * H * W + k, k % M] = 1
    assert supervision(weights).item() == pytest.approx(((matrix - ideal) ** 2).mean())


def test_supervision_reaches_the_encoder(model: Autoencoder) -> None:
    restored = model(torch.rand(2, 12, 32, 32) * 2 - 1)
    supervision(restored.memory.weights).backward()
    grad = model.encoder.stages[0][0].weight.grad
    assert grad is not None
    assert grad.abs().sum() > 0


def test_noise_is_salt_and_pepper_on_the_published_scale() -> None:
    frames = torch.rand(4, 3, 3, 32, 32) - 0.5
    noisy = add_noise(frames, 0.25, torch.Generator().manual_seed(1))
    changed = (noisy != frames).any(2)
    assert changed.float().mean() == pytest.approx(0.25, abs=0.02)
    assert set(noisy.movedim(2, -1)[changed].unique().tolist()) == {-1.0, 1.0}
    assert (noisy == 1).any(2).float().mean() == pytest.approx(0.125, abs=0.02)
    assert torch.equal(noisy, add_noise(frames, 0.25, torch.Generator().manual_seed(1)))
    assert not torch.equal(noisy, add_noise(frames, 0.25, torch.Generator().manual_seed(2)))
    assert torch.equal(add_noise(frames, 0.0, torch.Generator()), frames)
