"""MemoryModule's items behave as BatchNorm's statistics do, wherever people meet those."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from mnad_ext import MemoryModule, UpdateStatistics, reference
from mnad_ext.statistics import zero_statistics
from tests.ext.training import features, loss_of, trained


def expected(items: Tensor, x: Tensor) -> Tensor:
    """The gradient by the reference, of the items before the update."""
    x = x.detach().requires_grad_()
    output, weights = reference.memory_read(x * 2, items)
    loss = output.square().sum() + weights.square().sum()
    indices, _ = reference.assign_top2(x * 2, items) if len(items) > 1 else (torch.zeros(len(x), 1, 5, 7).long(), None)
    loss = loss + reference.compactness(x * 2, items, indices[:, 0]).sum()
    if len(items) > 1:
        loss = loss + reference.separateness(x * 2, items, indices).sum()
    return torch.autograd.grad(loss, x)[0]


@pytest.mark.parametrize("num_items", [1, 4])
@pytest.mark.parametrize("update_on", ["forward", "call"])
def test_the_buffer_stays_the_same_tensor(update_on: str, num_items: int) -> None:
    memory = MemoryModule(16, num_items, update_on=update_on)  # type: ignore[arg-type]
    held, before = memory.items, memory.items.clone()
    x = features().requires_grad_()
    loss_of(memory, x).backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, expected(before, x))
    if update_on == "call":
        assert torch.equal(held, before)
        memory.apply_update()
    assert memory.items is held
    torch.testing.assert_close(held, reference.memory_update(2 * x.detach(), before))
    memory.eval().update(features())
    assert memory.items is held


def test_an_update_before_the_backward_pass() -> None:
    memory = MemoryModule(16, 4)
    before, x = memory.items.clone(), features().requires_grad_()
    loss = loss_of(memory, x)
    memory.update(features())
    loss.backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, expected(before, x))


def test_one_applied_before_the_backward_pass_is_refused() -> None:
    memory = MemoryModule(16, 4, update_on="call")
    loss = loss_of(memory, features().requires_grad_())
    memory.apply_update()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("update_on", ["forward", "call"])
def test_training_goes_on_after_inference_mode(update_on: str) -> None:
    memory = MemoryModule(16, 4, update_on=update_on)  # type: ignore[arg-type]
    held = memory.items
    with torch.inference_mode():
        memory.update(features())
        memory(features())
    before, x = memory.items.clone(), features().requires_grad_()
    loss_of(memory, x).backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, expected(before, x))
    assert memory.items is held


def test_the_first_replica_of_data_parallel_moves_the_items() -> None:
    memory = MemoryModule(16, 4)
    before, x = memory.items.clone(), features()
    replica = memory._replicate_for_data_parallel()
    replica._buffers["items"] = memory.items  # as broadcasting gives it to the first device
    replica(x)
    torch.testing.assert_close(memory.items, reference.memory_update(x, before))


def test_several_passes_are_one_large_batch() -> None:
    memory, x = MemoryModule(16, 4, update_on="call"), features(6)
    x[3, 0, 0, 0] = torch.nan
    before = memory.items.clone()
    for part in x.split([1, 2, 3]):
        memory(part)
    memory.apply_update()
    torch.testing.assert_close(memory.items, reference.memory_update(x, before))
    after = memory.items.clone()
    memory.apply_update()
    assert torch.equal(memory.items, after)
    memory.eval()(x)
    memory.apply_update()
    assert torch.equal(memory.items, after)


def gathered_of(memory: MemoryModule) -> UpdateStatistics:
    return UpdateStatistics(*(getattr(memory, f"gathered_{name}") for name in UpdateStatistics._fields))


def test_what_is_gathered_is_no_state_and_is_kept_exactly() -> None:
    memory = MemoryModule(16, 4, update_on="call")
    assert list(memory.state_dict()) == ["items"]
    assert "update_on='call'" in repr(memory)
    memory(features())
    gathered = [value.clone() for value in gathered_of(memory)]
    nn.Sequential(memory).half()
    torch.testing.assert_close([*gathered_of(memory)], gathered, rtol=0, atol=0)
    twin = copy.deepcopy(memory)
    twin.apply_update()
    assert not torch.equal(memory.items, twin.items)


FORGETTING: dict[str, Callable[[MemoryModule], object]] = {
    "discard_gathered": MemoryModule.discard_gathered,
    "reset_items": MemoryModule.reset_items,
    "load_state_dict": lambda memory: memory.load_state_dict(MemoryModule(16, 4).state_dict()),
    "load_state_dict, assign": lambda memory: memory.load_state_dict(MemoryModule(16, 4).state_dict(), assign=True),
    "load_state_dict of a network": lambda memory: nn.Sequential(memory).load_state_dict({"0.items": torch.eye(4, 16)}),
}


@pytest.mark.parametrize("forget", FORGETTING)
def test_what_is_gathered_is_forgotten(forget: str) -> None:
    memory = MemoryModule(16, 4, update_on="call")
    memory(features())
    FORGETTING[forget](memory)
    torch.testing.assert_close(gathered_of(memory), zero_statistics(memory.items), rtol=0, atol=0)
    items = memory.items.clone()
    memory.apply_update()
    assert torch.equal(memory.items, items)


@pytest.mark.parametrize("fill", ["reset_items", "load_state_dict", "load_state_dict, assign"])
def test_a_module_made_on_the_meta_device_trains(fill: str) -> None:
    with torch.device("meta"):
        memory = MemoryModule(16, 4, update_on="call")
    if "assign" not in fill:
        memory = memory.to_empty(device="cpu")
        for value in gathered_of(memory):
            value.fill_(7)  # as uninitialised memory may be
    FORGETTING[fill](memory)
    before, x = memory.items.clone(), features()
    memory(x)
    memory.apply_update()
    torch.testing.assert_close(memory.items, reference.memory_update(x, before))


@pytest.mark.parametrize("shape", [(3, 16), (2, 4, 16)], ids=["fewer", "per-sample"])
def test_items_put_in_place_of_others(shape: tuple[int, ...]) -> None:
    memory, x = MemoryModule(16, 4, update_on="call"), features()
    memory(x)
    memory.items = items = nn.functional.normalize(torch.rand(shape), dim=-1)
    for call in (lambda: memory(x), memory.apply_update):
        with pytest.raises(RuntimeError, match=r"gathered for items \(4, 16\).*call discard_gathered\(\)"):
            call()
    memory.discard_gathered()
    before = items.clone()
    memory(x)
    memory.apply_update()
    torch.testing.assert_close(memory.items, reference.memory_update(x, before))


def test_children_of_the_module_are_converted_as_ever() -> None:
    memory = MemoryModule(16, 4, update_on="call")
    memory.decoder = nn.Sequential(nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16))
    memory.half()
    assert {value.dtype for value in memory.decoder.parameters()} == {torch.float16}
    assert memory.items.dtype == torch.float32


def test_words_for_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match=r"update_on must be one of \('forward', 'call'\), got 'step'"):
        MemoryModule(16, update_on="step")  # type: ignore[arg-type]
    for call in (MemoryModule.apply_update, MemoryModule.discard_gathered):
        with pytest.raises(RuntimeError, match='is for update_on="call"'):
            call(MemoryModule(16))
        with pytest.raises(RuntimeError, match="learned by gradient"):
            call(MemoryModule(16, update_rule=None, update_on="call"))


@pytest.mark.compiler
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("update_on", ["forward", "call"])
def test_compiled_it_reads_the_items_before_the_update(update_on: str, recompute: bool) -> None:
    """Also where the compiler would rather recompute things than save them."""
    memory = MemoryModule(16, 4, update_on=update_on)  # type: ignore[arg-type]
    torch._dynamo.reset()
    with torch._functorch.config.patch(aggressive_recomputation=recompute):
        compiled = trained(copy.deepcopy(memory), torch.compile(loss_of, fullgraph=True))
    torch.testing.assert_close(compiled, trained(memory, loss_of))


def test_threads_keep_their_items_apart() -> None:
    """As the replicas of nn.DataParallel run."""

    def passes(_: int) -> None:
        memory = MemoryModule(512, 4)
        for _ in range(100):
            memory(torch.randn(1, 512, 4, 4, requires_grad=True))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(passes, range(4)))


def test_transforms_are_refused_in_words_while_training() -> None:
    memory, x = MemoryModule(16, 4), features()
    with pytest.raises(RuntimeError, match="no forward-mode derivative"):
        torch.func.jvp(lambda x: memory(x).output, (x,), (x,))
    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.grad(lambda x: loss_of(memory, x))(x)
