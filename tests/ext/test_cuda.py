"""What only a GPU can show: graphs, streams, devices, the same bits in every run."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import mnad_ext

pytestmark = pytest.mark.cuda


def draw(B: int = 2, C: int = 64, M: int = 10) -> tuple[Tensor, Tensor]:
    features = torch.randn(B, C, 32, 32, device="cuda")
    return features, F.normalize(torch.rand(M, C, device="cuda"), dim=1)


def everything(features: Tensor, items: Tensor) -> list[Tensor]:
    """A training step's results: outputs, gradient and new items."""
    leaf = features.detach().requires_grad_()
    step = mnad_ext.memory_step(leaf, items)
    loss = step.output.square().sum() + step.compactness.sum() + step.separateness.sum()
    (grad,) = torch.autograd.grad(loss, [leaf])
    return [step.output, step.weights, step.indices, grad, mnad_ext.update_items(items, step.statistics)]


def test_a_graph_can_be_captured_and_replayed() -> None:
    features, items = draw()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        everything(features, items)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = everything(features, items)
    features.copy_(draw()[0])
    graph.replay()
    for replayed, expected in zip(captured, everything(features, items), strict=True):
        assert torch.equal(replayed, expected)


def test_work_goes_to_the_current_stream() -> None:
    features, items = draw()
    expected = everything(features * 2, items)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(20_000_000)  # what follows on this stream must wait for it
        late = features * 2
        actual = everything(late, items)
    side.synchronize()
    for value, wanted in zip(actual, expected, strict=True):
        assert torch.equal(value, wanted)


def test_a_hundred_runs_give_the_same_bits() -> None:
    features, items = draw(B=4, C=512)
    first = everything(features, items)
    for _ in range(99):
        for value, wanted in zip(everything(features, items), first, strict=True):
            assert torch.equal(value, wanted)


def test_no_step_waits_for_the_gpu() -> None:
    features, items = draw()
    everything(features, items)
    torch.cuda.set_sync_debug_mode("error")
    try:
        everything(features, items)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_another_device_than_the_current_one() -> None:
    features, items = draw()
    expected = everything(features, items)
    actual = everything(features.to("cuda:1"), items.to("cuda:1"))
    for value, wanted in zip(actual, expected, strict=True):
        assert value.device == torch.device("cuda:1")
        torch.testing.assert_close(value.to("cuda:0"), wanted)
