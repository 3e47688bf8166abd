"""keep_items and gather_: they keep the memory's state right where a forward pass is computed again.

Both decide when they run: compiled code is traced once, for a first pass and for one that is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.fx.traceback
import torch.utils._python_dispatch
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy

from mnad_ext.statistics import UpdateStatistics

COMPUTED_AGAIN = (
    "this forward pass of the memory is computed again for the backward pass (activation checkpointing), when its own "
    'update has moved the items; use MemoryModule(..., update_on="call") and call apply_update() after '
    "optimizer.step(), or leave the memory out of what is checkpointed"
)
ITEMS_MOVED = (
    "the items of the memory have moved between this forward pass and its backward pass, which reads them again; call "
    "apply_update() or update() after backward()"
)
_DEFINITION = torch.library.Library("mnad", "FRAGMENT")
_DEFINITION.define("keep_items(Tensor items) -> Tensor")
_DEFINITION.define("gather_(Tensor(a!)[] gathered, Tensor[] statistics) -> ()")


def keep_items(items: Tensor) -> Tensor:
    """Copies items that are written to before the backward pass of a read needs them.

    ``items.clone()`` does the same, but torch.compile may replace a clone by what it copies, or copy in the backward
    pass, and so read the items when they have moved.

    Args:
        items: Of any shape and dtype.

    Returns:
        The copy, without a gradient.

    Raises:
        RuntimeError: If it is within what activation checkpointing computes again.

    Example:
        >>> import torch
        >>> items = torch.eye(2)
        >>> kept = keep_items(items)
        >>> _ = items.zero_()
        >>> kept.sum().item()
        2.0
    """
    kept: Tensor = torch.ops.mnad.keep_items.default(items)
    return kept


def gather_(gathered: UpdateStatistics, statistics: UpdateStatistics) -> None:
    """Merges the statistics of a forward pass into those that are gathered, unless it is computed again.

    One operator, so that selective checkpointing meets the same sequence of operators in both passes.

    Args:
        gathered: Written in place.
        statistics: Of the same shapes.

    Example:
        >>> import torch
        >>> from mnad_ext import update_statistics
        >>> from mnad_ext.statistics import zero_statistics
        >>> items = torch.eye(2)
        >>> gathered = zero_statistics(items)
        >>> for _ in range(2):
        ...     gather_(gathered, update_statistics(torch.ones(1, 2, 3, 3), items))
        >>> gathered.counts.sum().item()
        18
    """
    torch.ops.mnad.gather_.default(gathered, statistics)


def computed_again() -> bool:
    """Whether a forward pass is computed again for a backward pass; False while it is traced."""
    return not torch.compiler.is_compiling() and _in_backward()


def note_items(ctx: Any, items: Tensor) -> None:
    """Notes the version of the items that a forward pass reads, for :func:`refuse_moved_items`."""
    ctx.items_read = items
    ctx.items_version = None if items.is_inference() else items._version  # autograd saves no inference tensor


def refuse_moved_items(ctx: Any, items: Tensor) -> None:
    """Makes sure that the items given to a backward pass hold what its forward pass has read.

    Autograd checks the tensors that it saves, but not those that a checkpoint computes again. Items in other memory
    are a copy that a hook has made (``save_on_cpu``), which no update has reached.
    """
    read: Tensor = ctx.items_read
    if read._version != ctx.items_version and items.data_ptr() == read.data_ptr():
        raise RuntimeError(ITEMS_MOVED)


@torch.library.register_fake("mnad::keep_items")
def _fake_keep(items: Tensor) -> Tensor:
    return torch.empty_like(items)


@torch.library.register_fake("mnad::gather_")
def _fake_gather(gathered: Sequence[Tensor], statistics: Sequence[Tensor]) -> None:
    pass


def _in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1


def _copy(items: Tensor) -> Tensor:
    if _in_backward():
        raise RuntimeError(COMPUTED_AGAIN)
    return items.clone()


def _gather(gathered: Sequence[Tensor], statistics: Sequence[Tensor]) -> None:
    if _in_backward():
        return
    merged = UpdateStatistics(*gathered).merge(UpdateStatistics(*statistics))
    for kept, value in zip(gathered, merged, strict=True):
        kept.copy_(value)


def _keep(items: Tensor) -> Tensor:
    if _in_checkpoint():
        raise RuntimeError(COMPUTED_AGAIN)
    # The notes are one dictionary for the whole process: who does not trace leaves them alone.
    saved = _saved_by_the_compiler() if torch.fx.traceback.has_preserved_node_meta() else nullcontext()
    with saved, torch._C._AutoDispatchBelowAutograd():
        kept: Tensor = torch.ops.mnad.keep_items.default(items)
        return kept


@contextmanager
def _saved_by_the_compiler() -> Iterator[None]:
    """Notes what selective checkpointing notes of an operator: save the result, never compute it again."""
    meta = torch.fx.traceback.current_meta
    before = meta.get("recompute")
    if before in (CheckpointPolicy.MUST_RECOMPUTE, CheckpointPolicy.PREFER_RECOMPUTE):
        raise RuntimeError(COMPUTED_AGAIN)
    meta["recompute"] = CheckpointPolicy.MUST_SAVE
    try:
        yield
    finally:
        meta.pop("recompute", None)
        if before is not None:
            meta["recompute"] = before


def _in_checkpoint() -> bool:
    modes = torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    return any(type(mode).__name__ == "_CachingTorchDispatchMode" for mode in modes)


_DEFINITION.impl("keep_items", _copy, "CompositeExplicitAutograd")
_DEFINITION.impl("keep_items", _keep, "Autograd")
_DEFINITION.impl("gather_", _gather, "CompositeExplicitAutograd")
_DEFINITION.impl("gather_", torch.library.fallthrough_kernel, "Autograd")
