"""Networks of the released code become ours, number for number, or are refused by the tensor that differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mnad.artifacts.released import Released, read_released
from mnad.models import Autoencoder
from mnad.runtime.errors import CheckpointError
from torch import Tensor, nn

from tests.artifacts.released_code import (
    PREDICTION,
    RECONSTRUCTION,
    convAE,
    make_keys,
    make_network,
    on_cuda,
    parallel,
    save,
)

pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
LAYOUTS: dict[str, dict[str, Any]] = {
    "prediction": {},
    "prediction, no memory": {"memory": False},
    "prediction, no skips": {"skips": False},
    "reconstruction": {"frames_in": 1, "skips": False},
    "reconstruction, released": {"frames_in": 1, "skips": False, "wide": True},
    "reconstruction, released, no memory, grey": {
        "frames_in": 1, "skips": False, "wide": True, "memory": False, "channels": 1,
    },
    "with skips, wider": {"frames_in": 2, "width": 8, "channels": 1},
}  # fmt: skip


def converted(folder: Path, model: object, keys: object = None, *, target: Any = None, **options: Any) -> Released:
    path = save(folder / "model.pth", model, **options)
    return read_released(path, None if keys is None else save(folder / "keys.pt", keys), target)


def frames_of(released: Released, frames: Tensor) -> Tensor:
    model = Autoencoder(released.config)
    model.load_state_dict(released.weights)
    with torch.no_grad():
        return model.eval()(frames).frames


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("bare", [True, False])
def test_it_gives_the_same_frames(
    layout: dict[str, Any], zipped: bool, wrapped: bool, bare: bool, tmp_path: Path
) -> None:
    network = make_network(**layout)
    keys = make_keys(layout.get("width", 4), 7) if layout.get("memory", True) else None
    whole = parallel(network) if wrapped else network
    released = converted(tmp_path, whole.state_dict() if bare else whole, keys, zipped=zipped)
    frames = torch.rand(2, layout.get("frames_in", 4) * layout.get("channels", 3), 32, 40) * 2 - 1
    with torch.no_grad():
        wanted = network(frames, keys)
    assert wanted.std() > 1e-3
    assert (frames_of(released, frames) - wanted).abs().max() < 1e-5
    config = released.config
    assert (config.frames_in, config.width) == (layout.get("frames_in", 4), layout.get("width", 4))
    assert (config.skips, config.decoder) == (
        layout.get("skips", True), "wide-up" if layout.get("wide") else "narrow-up",
    )  # fmt: skip
    assert (config.memory and config.memory.num_items) == (None if keys is None else 7)
    assert released.dropped == tuple(
        f"encoder.moduleBatchNorm.{name}"
        for name in ("bias", "num_batches_tracked", "running_mean", "running_var", "weight")
    )


def test_the_networks_are_as_large_as_published(tmp_path: Path) -> None:
    assert len(convAE().state_dict()) == 135
    released = converted(tmp_path, make_network(width=64, memory=False).state_dict())
    numbers = sum(value.numel() for value in released.weights.values() if value.is_floating_point())
    model = Autoencoder(released.config)
    assert sum(parameter.numel() for parameter in model.parameters()) * 4 / 1e6 == pytest.approx(53.17, abs=0.005)
    assert numbers > sum(parameter.numel() for parameter in model.parameters())


def test_half_precision_and_no_counters(tmp_path: Path) -> None:
    network, keys = make_network().half(), make_keys()
    stored = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    released = converted(tmp_path, stored, keys.half())
    floating = {value.dtype for name, value in released.weights.items() if "num_batches" not in name}
    assert floating == {torch.float32}
    counters = [value for name, value in released.weights.items() if name.endswith("num_batches_tracked")]
    assert len(counters) == 18
    assert all(value.dtype == torch.int64 and value.shape == () and value == 0 for value in counters)
    frames = torch.rand(1, 12, 32, 32) * 2 - 1
    with torch.no_grad():
        wanted = network.float()(frames, keys.half().float())
    assert (frames_of(released, frames) - wanted).abs().max() < 1e-5
    assert converted(tmp_path, network, keys).weights["encoder.stages.0.1.num_batches_tracked"] == 7


def test_from_a_gpu(tmp_path: Path) -> None:
    network, keys = make_network(), make_keys()
    path = on_cuda(save(tmp_path / "model.pth", parallel(network), zipped=False))
    items = on_cuda(save(tmp_path / "keys.pt", keys, zipped=False))
    assert torch.equal(read_released(path, items).weights["memory.items"], keys)


@pytest.mark.parametrize(
    ("layout", "home", "asked", "target", "reason"),
    [
        ({}, PREDICTION, None, "next", f"as its class is {PREDICTION}.convAE"),
        ({"skips": False}, PREDICTION, None, "next", f"as its class is {PREDICTION}.convAE"),
        ({}, RECONSTRUCTION, None, "last", f"as its class is {RECONSTRUCTION}.convAE"),
        ({"skips": False}, "nets", None, "last", "as it has no skips"),
        ({}, "nets", None, "next", "as it has skips"),
        ({}, PREDICTION, "last", "last", "as it was asked for"),
    ],
)
def test_what_it_restores(
    layout: dict[str, Any], home: str, asked: str | None, target: str, reason: str, tmp_path: Path
) -> None:
    network = parallel(make_network(**layout, memory=False))
    released = converted(tmp_path, network, network=home, target=asked)
    assert (released.config.target, released.reason) == (target, reason)


def reshaped(name: str, *shape: int) -> Any:
    def change(state: dict[str, Tensor]) -> None:
        state[name] = torch.zeros(shape)

    return change


def removed(name: str) -> Any:
    return lambda state: state.pop(name)


def not_finite(state: dict[str, Tensor]) -> None:
    state["decoder.moduleConv.0.bias"][0] = float("nan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (removed("encoder.moduleConv1.0.weight"), "it has no encoder.moduleConv1.0.weight"),
        (removed("encoder.moduleConv2.3.bias"), r"encoder.moduleConv2.3.bias should be \(8,\) and is absent"),
        (removed("decoder.moduleUpsample3.1.running_var"), "decoder.moduleUpsample3.1.running_var should be"),
        (reshaped("encoder.moduleConv3.1.bias", 17), r"moduleConv3.1.bias should be \(16,\) and is \(17,\)"),
        (reshaped("encoder.moduleConv1.0.weight", 4, 12, 5, 5), r"\(4, 12, 3, 3\) and is \(4, 12, 5, 5\)"),
        (reshaped("encoder.moduleConv1.0.weight", 4, 11, 3, 3), "11 channels, which are no whole number of frames"),
        (reshaped("encoder.moduleConv1.0.weight", 4), r"is no convolution, but \(4,\)"),
        (reshaped("encoder.moduleConv1.0.weight", 0, 12, 3, 3), "is no convolution, but"),
        (reshaped("decoder.moduleDeconv1.6.weight", 2, 4, 3, 3), "image_channels must be 3 .* or 1 .*, got 2"),
        (reshaped("decoder.moduleConv.0.weight", 32, 48, 3, 3), "takes 48 channels and should take 64 with a memory"),
        (reshaped("decoder.moduleUpsample4.0.weight", 32, 24, 3, 3), "gives 24 channels and .* takes 32, which should"),
        (reshaped("attention.weight", 3), "it has 'attention.weight', which none of them has"),
        (reshaped("encoder.moduleConv4.4.weight", 3), "it has 'encoder.moduleConv4.4.weight', which none"),
        (not_finite, "decoder.moduleConv.0.bias has numbers that are not finite"),
    ],
)
def test_another_architecture_says_which_tensor(change: Any, words: str, tmp_path: Path) -> None:
    state = make_network().state_dict()
    change(state)
    with pytest.raises(CheckpointError, match=f"model.pth.*{words}"):
        converted(tmp_path, state, make_keys())


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    state = make_network().state_dict()
    state["decoder.moduleConv.0.bias"] = torch.zeros(32, dtype=torch.int64)
    with pytest.raises(CheckpointError, match="decoder.moduleConv.0.bias should be torch.float32 and is torch.int64"):
        converted(tmp_path, state, make_keys())


def test_items(tmp_path: Path) -> None:
    network, keys = make_network().state_dict(), make_keys()
    for value in (keys, nn.Parameter(keys), [keys], {"keys": keys}, keys * (1 + 9e-4)):
        assert converted(tmp_path, network, value).weights["memory.items"].shape == (10, 32)
    longer, unknown = keys.clone(), keys.clone()
    longer[3] *= 1.002
    unknown[4, 5] = float("nan")
    for value, words in [
        (make_keys(8), "have width 64, but the network has 32"),
        (longer, "should have length 1, and item 3 has 1.002"),
        (unknown, "should have length 1, and item 4 has nan"),
        (keys[0], r"shape \(M, 32\) and are torch.float32, \(32,\)"),
        (keys[:0], r"shape \(M, 32\) and are torch.float32, \(0, 32\)"),
        (keys.to(torch.int64), "and are torch.int64"),
        (network, "should hold one tensor alone and holds 135 values"),
    ]:
        with pytest.raises(CheckpointError, match=f"keys.pt.*{words}"):
            converted(tmp_path, network, value)


def test_items_and_memory_belong_together(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="model.pth has a memory: give the file of its items"):
        converted(tmp_path, make_network())
    with pytest.raises(CheckpointError, match="model.pth has no memory, so that .*keys.pt cannot be of it"):
        converted(tmp_path, make_network(memory=False), make_keys())
    with pytest.raises(CheckpointError, match=r"keys.pt holds a tensor of shape \(10, 32\) and no weights"):
        read_released(tmp_path / "keys.pt", tmp_path / "model.pth")  # the wrong way round
