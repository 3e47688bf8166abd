"""What only a GPU can show: graphs, streams, devices, the same bits in every run; and what is too large for a CPU."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mnad_ext
from mnad_ext import MemoryModule, reference
from mnad_ext.memory import UPDATE_ON, UpdateOn
from tests.ext.cases import TOLERANCE, Case, make_features, make_items, without_ties
from tests.ext.training import loss_of, trained

pytestmark = pytest.mark.cuda
LARGE = [
    *(Case(2, 512, 32, 32, M) for M in (64, 256, 1024)),
    *(Case(2, C, 32, 32, 10) for C in (64, 128, 1024)),
    *(Case(B, 512, 32, 32, 10) for B in (4, 8, 9, 64)),  # on 132 multiprocessors every size of tile
]


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


@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_many_items_and_other_widths(case: Case, dtype: torch.dtype, layout: str) -> None:
    items = make_items(case, dtype, "cuda")
    features = without_ties(make_features(case, dtype, layout, "cuda"), items)
    step = mnad_ext.memory_step(features, items)
    output, weights = reference.memory_read(features, items)
    torch.testing.assert_close(step.output, output, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])
    torch.testing.assert_close(step.weights, weights, atol=2e-6, rtol=2e-6)
    updated = mnad_ext.update_items(items, step.statistics)
    torch.testing.assert_close(updated, reference.memory_update(features, items), atol=1e-5, rtol=1e-5)


def test_more_than_two_billion_elements() -> None:
    C, H, W = 64, 2**12 + 1, 2**12
    free, _ = torch.cuda.mem_get_info()
    assert free > 16 << 30, "needs 16 GB of free memory"
    features = torch.zeros(2, C, H, W, dtype=torch.bfloat16, device="cuda")
    items = torch.eye(3, C, device="cuda")
    for b, c, h, w in [(0, 0, 0, 0), (0, 1, H // 2, 5), (1, 2, H - 1, W - 1)]:
        features[b, c, h, w] = 7
    assert features.numel() > 2**31
    output, weights = mnad_ext.memory_read(features, items)
    assert output.numel() > 2**32
    assert output[:, :C].sum(dtype=torch.float32) == 3
    assert weights[1, :, H - 1, W - 1].argmax() == 2
    assert weights[0, :, H // 2, 5].argmax() == 1
    near = weights[1, :, H - 1, W - 1]
    torch.testing.assert_close(output[1, C : C + 3, H - 1, W - 1].float(), near, atol=2**-8, rtol=0)
    assert mnad_ext.update_statistics(features, items).counts.sum() == 2 * H * W


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.compiler)], ids=["eager", "compiled"])
def test_the_module_trains_under_autocast(compiled: bool, dtype: torch.dtype) -> None:
    memory = MemoryModule(16, 4).to("cuda")
    on_cpu = copy.deepcopy(memory).cpu()
    features = torch.randn(2, 16, 5, 7).to(dtype)
    results = []
    for module, device in ((memory, "cuda"), (on_cpu, "cpu")):
        leaf = features.to(device).detach().requires_grad_()
        call = torch.compile(module, fullgraph=True) if compiled and device == "cuda" else module
        with torch.autocast(device, torch.bfloat16):
            out = call(leaf)
        losses = out.compactness.sum() + out.separateness.sum()
        (grad,) = torch.autograd.grad(out.output.float().sum() + losses, [leaf])
        results.append([value.cpu() for value in (out.output, out.weights, losses.detach(), grad, module.items)])
    assert results[0][0].dtype == dtype
    assert memory.items.dtype == torch.float32
    tolerance = 4 * TOLERANCE[dtype]
    torch.testing.assert_close(results[0], results[1], atol=tolerance, rtol=tolerance)


@pytest.mark.compiler
@pytest.mark.parametrize("update_on", UPDATE_ON)
def test_compiled_steps_of_the_module_replay_as_graphs(update_on: UpdateOn) -> None:
    memory = MemoryModule(16, 4, update_on=update_on).to("cuda")
    torch._dynamo.reset()
    replayed = torch.compile(loss_of, fullgraph=True, mode="reduce-overhead")
    actual = trained(copy.deepcopy(memory), replayed, steps=6)  # the first ones warm up and record
    torch.testing.assert_close(actual, trained(memory, loss_of, steps=6))


@pytest.mark.parametrize("update_on", UPDATE_ON)
def test_a_training_step_of_the_module_in_a_graph_moves_the_items_at_every_replay(update_on: UpdateOn) -> None:
    memory = MemoryModule(64, 10, update_on=update_on).to("cuda")
    twin, features = copy.deepcopy(memory), draw()[0].requires_grad_()

    def step(memory: MemoryModule) -> Tensor:
        (grad,) = torch.autograd.grad(loss_of(memory, features), features)
        if update_on == "call":
            memory.apply_update()
        return grad

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step(copy.deepcopy(memory))
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        grad = step(memory)
    for _ in range(3):
        with torch.no_grad():
            features.copy_(draw()[0])
        graph.replay()
        assert torch.equal(grad, step(twin))
        assert torch.equal(memory.items, twin.items)


@pytest.mark.parametrize("update_on", UPDATE_ON)
def test_data_parallel_updates_by_the_queries_of_the_first_device(update_on: UpdateOn) -> None:
    devices = torch.cuda.device_count()
    memory = MemoryModule(64, 10, update_on=update_on).to("cuda")
    before, features = memory.items.clone(), draw(B=2 * devices)[0]
    out = nn.DataParallel(nn.Sequential(memory))(features)
    if update_on == "call":
        memory.apply_update()
    torch.testing.assert_close(out.output, mnad_ext.memory_read(features, before)[0])
    torch.testing.assert_close(memory.items, mnad_ext.memory_update(features[:2], before))
