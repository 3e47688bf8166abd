"""MemoryModule's items behave as BatchNorm's statistics do, wherever people meet those."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mnad_ext import MemoryModule, UpdateStatistics, reference
from mnad_ext.ops import keep_items
from tests.ext.ranks import on_two_ranks

Pass = Callable[[MemoryModule, Tensor], Tensor]


def features(B: int = 2) -> Tensor:
    return torch.randn(B, 16, 5, 7)


def loss_of(memory: MemoryModule, x: Tensor) -> Tensor:
    out = memory(x * 2)
    loss: Tensor = out.output.square().sum() + out.weights.square().sum() + out.compactness.sum()
    return loss if out.separateness is None else loss + out.separateness.sum()


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


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_is_refused_where_the_items_have_moved(reentrant: bool) -> None:
    memory = MemoryModule(16, 4)
    loss = checkpoint(loss_of, memory, features().requires_grad_(), use_reentrant=reentrant)
    with pytest.raises(RuntimeError, match='use MemoryModule.*update_on="call"'):
        loss.backward()


@pytest.mark.parametrize("num_items", [1, 4])
@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_with_updates_on_call(reentrant: bool, num_items: int) -> None:
    memory = MemoryModule(16, num_items, update_on="call")
    for _ in range(2):
        before, x = memory.items.clone(), features().requires_grad_()
        checkpoint(loss_of, memory, x, use_reentrant=reentrant).backward()
        assert x.grad is not None
        torch.testing.assert_close(x.grad, expected(before, x))
        memory.apply_update()
        torch.testing.assert_close(memory.items, reference.memory_update(2 * x.detach(), before))


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


def test_what_is_gathered_is_no_state_and_is_kept_exactly() -> None:
    memory = MemoryModule(16, 4, update_on="call")
    assert list(memory.state_dict()) == ["items"]
    assert "update_on='call'" in repr(memory)
    memory(features())
    gathered = [getattr(memory, f"gathered_{name}").clone() for name in UpdateStatistics._fields]
    nn.Sequential(memory).half()
    for name, value in zip(UpdateStatistics._fields, gathered, strict=True):
        assert torch.equal(getattr(memory, f"gathered_{name}"), value)
    twin = copy.deepcopy(memory)
    twin.apply_update()
    assert not torch.equal(memory.items, twin.items)


def test_words_for_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match=r"update_on must be one of \('forward', 'call'\), got 'step'"):
        MemoryModule(16, update_on="step")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match='is for update_on="call"'):
        MemoryModule(16).apply_update()
    with pytest.raises(RuntimeError, match="learned by gradient"):
        MemoryModule(16, update_rule=None, update_on="call").apply_update()


def trained(memory: MemoryModule, one_pass: Pass) -> list[Tensor]:
    """Gradients of three steps, and the items after them."""
    grads = []
    torch.manual_seed(1)
    for _ in range(3):
        x = features().requires_grad_()
        one_pass(memory, x).backward()
        assert x.grad is not None
        grads.append(x.grad)
        if memory.update_on == "call":
            memory.apply_update()
    return [*grads, memory.items]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("update_on", ["forward", "call"])
def test_compiled_it_reads_the_items_before_the_update(update_on: str, recompute: bool) -> None:
    """Also where the compiler would rather compute things again than save them."""
    memory = MemoryModule(16, 4, update_on=update_on)  # type: ignore[arg-type]
    torch._dynamo.reset()
    with torch._functorch.config.patch(aggressive_recomputation=recompute):
        compiled = trained(copy.deepcopy(memory), torch.compile(loss_of, fullgraph=True))
    torch.testing.assert_close(compiled, trained(memory, loss_of))


def test_compiled_checkpointing() -> None:
    def checkpointed(memory: MemoryModule, x: Tensor) -> Tensor:
        loss: Tensor = checkpoint(loss_of, memory, x, use_reentrant=False)
        return loss

    memory = MemoryModule(16, 4, update_on="call")
    torch._dynamo.reset()
    compiled = trained(copy.deepcopy(memory), torch.compile(checkpointed, fullgraph=True))
    torch.testing.assert_close(compiled, trained(memory, loss_of))
    with pytest.raises(RuntimeError, match='use MemoryModule.*update_on="call"'):
        torch.compile(checkpointed)(MemoryModule(16, 4), features().requires_grad_()).backward()


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


def test_keep_items_is_an_operator() -> None:
    items = torch.rand(4, 16)
    torch.library.opcheck(torch.ops.mnad.keep_items.default, (items,))
    assert torch.equal(keep_items(items), items)
    assert not keep_items(items.requires_grad_()).requires_grad


def test_two_ranks_gather_as_one_large_batch(tmp_path: Path) -> None:
    """Under DistributedDataParallel, which sends rank 0's buffers to all before each pass."""
    memory, x = MemoryModule(16, 4, update_on="call"), features(8)
    torch.save({"items": memory.items, "x": x}, tmp_path / "input.pt")
    on_two_ranks(_gather_on_rank, tmp_path)
    memory(x)
    memory.apply_update()
    for rank in range(2):
        items = torch.load(tmp_path / f"items{rank}.pt", weights_only=True)
        torch.testing.assert_close(items, memory.items, atol=1e-6, rtol=0)


def _gather_on_rank(rank: int, folder: Path) -> None:
    given = torch.load(folder / "input.pt", weights_only=True)
    memory = MemoryModule(16, 4, update_on="call")
    memory.items.copy_(given["items"])
    encoder = nn.Conv2d(16, 16, 1, bias=False)
    nn.init.dirac_(encoder.weight)
    network = nn.parallel.DistributedDataParallel(nn.Sequential(encoder, memory))
    for part in given["x"].chunk(2)[rank].chunk(2):
        network(part).output.sum().backward()
    memory.apply_update()
    torch.save(memory.items, folder / f"items{rank}.pt")
