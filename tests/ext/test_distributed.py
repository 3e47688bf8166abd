"""Several ranks update the items as one process with all their samples does, by one message for each update."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor.debug import CommDebugMode

from mnad_ext import MemoryModule, UpdateStatistics, reference
from mnad_ext._distributed import merge_over_ranks
from mnad_ext.memory import UPDATE_ON
from tests.ext.ranks import Work, on_ranks
from tests.ext.training import features


def give(folder: Path, **values: Any) -> None:
    torch.save(values, folder / "given.pt")


def given(folder: Path) -> Any:
    return torch.load(folder / "given.pt")


def results(folder: Path, ranks: int) -> list[Any]:
    return [torch.load(folder / f"{rank}.pt") for rank in range(ranks)]


def of_rank(rank: int, dtype: torch.dtype, shape: tuple[int, ...]) -> UpdateStatistics:
    """Statistics as a rank might have them: of very many queries, and rank 1 without any for item 0."""
    generator = torch.Generator().manual_seed(rank)
    drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
    counts = 2**52 // 3 + torch.arange(rank, rank + drawn[..., 0].numel()).view(shape[:-1])
    peaks = [drawn[..., column].clone() for column in (1, 2)]
    if rank == 1:
        counts[..., 0] = 0
        peaks[1][..., 0] = -torch.inf
    return UpdateStatistics(
        (1e5 * drawn).to(dtype), drawn[..., 0].exp().to(dtype), counts, *(peak.to(dtype) for peak in peaks)
    )


KINDS = list(itertools.product([torch.float32, torch.float64], [(3, 5), (2, 3, 5)]))


@pytest.mark.parametrize("ranks", [2, 3])
def test_statistics_are_merged_by_one_message(ranks: int, tmp_path: Path) -> None:
    on_ranks(ranks, _merge, tmp_path)
    for found in results(tmp_path, ranks):
        for (dtype, shape), (merged, messages) in zip(KINDS, found, strict=True):
            assert messages == 1
            exact = functools.reduce(UpdateStatistics.merge, (of_rank(r, torch.float64, shape) for r in range(ranks)))
            rounding = 2.0**-23 if dtype == torch.float32 else 2.0**-51
            for name, value, wanted in zip(UpdateStatistics._fields, merged, exact, strict=True):
                assert value.dtype == (torch.int64 if name == "counts" else dtype)
                if name in ("weighted_sum", "total"):
                    torch.testing.assert_close(value, wanted.to(dtype), atol=1e5 * rounding, rtol=rounding)
                else:
                    assert torch.equal(value, wanted.to(value.dtype))


def _merge(rank: int, folder: Path) -> None:
    found = []
    for dtype, shape in KINDS:
        with CommDebugMode() as messages:
            merged = merge_over_ranks(of_rank(rank, dtype, shape))
        found.append((tuple(merged), messages.get_total_counts()))
    torch.save(found, folder / f"{rank}.pt")


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_update_as_one_large_batch(ranks: int, tmp_path: Path) -> None:
    check_update(_update, ranks, tmp_path)


@pytest.mark.compiler
def test_compiled_ranks_update_as_one_large_batch(tmp_path: Path) -> None:
    check_update(_update_compiled, 2, tmp_path)


def check_update(work: Work, ranks: int, folder: Path) -> None:
    before, x = MemoryModule(16, 4).items, features(6)
    give(folder, items=before, samples=x)
    on_ranks(ranks, work, folder)
    first, *others = results(folder, ranks)
    for items in first:
        torch.testing.assert_close(items, reference.memory_update(x, before), atol=1e-6, rtol=0)
    for found in others:
        assert all(torch.equal(one, other) for one, other in zip(first, found, strict=True))


def _update(rank: int, folder: Path) -> None:
    with CommDebugMode() as messages:
        torch.save([updated(memory, memory, x) for memory, x in of_both_kinds(rank, folder)], folder / f"{rank}.pt")
    assert messages.get_total_counts() == len(UPDATE_ON)


def _update_compiled(rank: int, folder: Path) -> None:
    found = [updated(memory, torch.compile(memory, fullgraph=True), x) for memory, x in of_both_kinds(rank, folder)]
    torch.save(found, folder / f"{rank}.pt")


def of_both_kinds(rank: int, folder: Path) -> Iterator[tuple[MemoryModule, Tensor]]:
    """For each way to update, a module and the samples of this rank."""
    values = given(folder)
    for update_on in UPDATE_ON:
        memory = MemoryModule(16, 4, update_on=update_on)
        memory.items.copy_(values["items"])
        yield memory, values["samples"].chunk(dist.get_world_size())[rank]


def updated(memory: MemoryModule, call: Callable[[Tensor], object], x: Tensor) -> Tensor:
    call(x)
    if memory.update_on == "call":
        memory.apply_update()
    return memory.items


def test_two_ranks_gather_as_one_large_batch(tmp_path: Path) -> None:
    """Under DistributedDataParallel, which sends rank 0's buffers to all before each pass."""
    memory, x = MemoryModule(16, 4, update_on="call"), features(8)
    give(tmp_path, items=memory.items, samples=x)
    on_ranks(2, _gather, tmp_path)
    memory(x)
    memory.apply_update()
    for items in results(tmp_path, 2):
        torch.testing.assert_close(items, memory.items, atol=1e-6, rtol=0)


def _gather(rank: int, folder: Path) -> None:
    values = given(folder)
    memory = MemoryModule(16, 4, update_on="call")
    memory.items.copy_(values["items"])
    encoder = nn.Conv2d(16, 16, 1, bias=False)
    nn.init.dirac_(encoder.weight)
    network = nn.parallel.DistributedDataParallel(nn.Sequential(encoder, memory))
    samples: Tensor = values["samples"]
    for part in samples.chunk(2)[rank].chunk(2):
        network(part).output.sum().backward()
    memory.apply_update()
    torch.save(memory.items, folder / f"{rank}.pt")
