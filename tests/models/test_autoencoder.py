from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from mnad.models import PRESETS, Autoencoder, MemoryConfig, ModelConfig
from mnad.runtime.errors import ConfigError

# The released code carries, and counts, a BatchNorm of 512 channels that nothing uses.
UNUSED_WEIGHTS = 2 * 512
RECONSTRUCTION = PRESETS["reconstruction"].model


def megabytes(config: ModelConfig) -> float:
    return 4 * (sum(weight.numel() for weight in Autoencoder(config).parameters()) + UNUSED_WEIGHTS) / 1e6


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (PRESETS["prediction"].model, 62.61),
        (PRESETS["prediction-no-memory"].model, 53.17),
        (RECONSTRUCTION, 59.49),
        (replace(RECONSTRUCTION, decoder="wide-up"), 68.79),
        (PRESETS["reconstruction-no-memory"].model, 50.05),
        (replace(PRESETS["prediction"].model, skips=False), 59.51),
        (replace(RECONSTRUCTION, skips=True), 62.59),
    ],
)
def test_published_sizes(config: ModelConfig, published: float) -> None:
    with torch.device("meta"):
        assert round(megabytes(config), 2) == published


@pytest.mark.parametrize("image_channels", [1, 3])
@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("decoder", ["narrow-up", "wide-up"])
@pytest.mark.parametrize("memory", [None, MemoryConfig(num_items=3, grad_through_weights=True)])
@pytest.mark.parametrize("frames_in", [1, 4])
def test_every_point_runs_and_learns(
    frames_in: int, memory: MemoryConfig | None, decoder: str, skips: bool, image_channels: int
) -> None:
    config = ModelConfig(frames_in, "next", skips, memory, decoder, 4, image_channels)  # type: ignore[arg-type]
    model = Autoencoder(config)
    restored = model(torch.rand(2, frames_in * image_channels, 24, 40) * 2 - 1)
    assert restored.frames.shape == (2, image_channels, 24, 40)
    assert restored.frames.abs().max() <= 1
    assert restored.features.shape == (2, 32, 3, 5)
    assert (restored.memory is None) == (memory is None)
    restored.frames.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


def test_the_last_convolution_is_bare() -> None:
    features = Autoencoder(ModelConfig(width=4))(torch.rand(2, 12, 32, 32)).features
    assert (features < 0).any()


def test_training_moves_the_items_and_evaluation_does_not() -> None:
    model = Autoencoder(ModelConfig(width=4))
    assert model.memory is not None
    before = model.memory.items.clone()
    model.eval()(torch.rand(2, 12, 32, 32))
    assert torch.equal(model.memory.items, before)
    model.train()(torch.rand(2, 12, 32, 32))
    assert not torch.equal(model.memory.items, before)


@pytest.mark.parametrize("shape", [(2, 11, 32, 32), (2, 12, 30, 32), (12, 32, 32)])
def test_frames_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"frames must be \(B, 12, H, W\) with H and W multiples of 8"):
        Autoencoder(ModelConfig(width=4))(torch.rand(shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames_in": 0}, "frames_in must be at least 1, got 0"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"image_channels": 2}, "image_channels must be 3 .* got 2"),
    ],
)
def test_bad_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**options)  # type: ignore[arg-type]


def test_bad_memory_options() -> None:
    with pytest.raises(ConfigError, match="num_items must be at least 1"):
        MemoryConfig(num_items=0)
    with pytest.raises(ConfigError, match="update_rule must be one of"):
        MemoryConfig(update_rule="mean")  # type: ignore[arg-type]


def test_compiled_without_graph_breaks() -> None:
    # In float64, where what is compiled may round otherwise and still differs by nothing that matters.
    eager = Autoencoder(ModelConfig(width=4)).double()
    model = copy.deepcopy(eager)
    compiled = torch.compile(model, fullgraph=True)
    for batch in (4, 6):  # the second makes the shapes dynamic
        frames = torch.rand(batch, 12, 32, 32, dtype=torch.float64) * 2 - 1
        expected, found = eager(frames), compiled(frames)
        torch.testing.assert_close(found.frames, expected.frames, rtol=0, atol=1e-11)
        assert eager.memory is not None
        assert model.memory is not None
        torch.testing.assert_close(model.memory.items, eager.memory.items, rtol=0, atol=1e-11)
