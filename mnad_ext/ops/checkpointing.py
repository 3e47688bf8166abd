"""keep_items and gather_: they keep the memory's state right where activation checkpointing recomputes a forward pass.

Both find out when they run, and not when they are traced, whether a pass is a recomputation: compiled code is traced
once for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.fx.traceback
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
from torch.utils.module_tracker import ModuleTracker

from mnad_ext.ops import _torch_internals as internals
from mnad_ext.statistics import UpdateStatistics

RECOMPUTED = (
    "this forward pass of the memory is recomputed for the backward pass (activation checkpointing), but its own "
    'update has moved the items; use MemoryModule(..., update_on="call") and call apply_update() after '
    "optimizer.step(), or leave the memory out of what is checkpointed"
)
ITEMS_MOVED = (
    "the items of the memory have moved between this forward pass and its backward pass, which needs those that the "
    "forward pass has read; call apply_update() or update() after backward()"
)
_TRACKER = ModuleTracker()  # is never entered: it tells whether this thread is in a backward pass
_DEFINITION = torch.library.Library("mnad", "FRAGMENT")
_DEFINITION.define("keep_items(Tensor items) -> Tensor")
_DEFINITION.define("gather_(Tensor(a!)[] gathered, Tensor[] statistics) -> ()")


def keep_items(items: Tensor) -> Tensor:
    """Copies items that are written to before the backward pass of a read needs them.

    torch.compile may replace ``items.clone()`` by the original, or compute it in the backward pass when the items have
    changed. It does neither with this operator.

    Args:
        items: Of any shape and dtype.

    Returns:
        The copy, without a gradient.

    Raises:
        RuntimeError: If activation checkpointing recomputes it, or would have to.

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
    """Merges the statistics of a forward pass into those that are gathered, unless it is a recomputation.

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


def is_recomputation() -> bool:
    """Whether a forward pass runs within a backward pass, as checkpointing recomputes it; False while it is traced."""
    return not torch.compiler.is_compiling() and _in_backward()


def note_items(ctx: Any, items: Tensor) -> None:
    """Notes the version of the items that a forward pass reads, for :func:`refuse_moved_items`."""
    ctx.items_read = items
    ctx.items_version = None if items.is_inference() else internals.version_of(items)  # autograd saves no such tensor


def refuse_moved_items(ctx: Any, items: Tensor) -> None:
    """Raises where the items given to a backward pass no longer hold what its forward pass has read.

    Autograd checks the tensors that it saves, but not those that a checkpoint recomputes. Items in other memory
    are a copy that a hook has made (``save_on_cpu``), which no update has reached.
    """
    read: Tensor = ctx.items_read
    if internals.has_changed(read, ctx.items_version) and items.data_ptr() == read.data_ptr():
        raise RuntimeError(ITEMS_MOVED)


@torch.library.register_fake("mnad::keep_items")
def _fake_keep(items: Tensor) -> Tensor:
    return torch.empty_like(items)


@torch.library.register_fake("mnad::gather_")
def _fake_gather(gathered: Sequence[Tensor], statistics: Sequence[Tensor]) -> None:
    pass


def _in_backward() -> bool:
    return bool(_TRACKER.is_bw)


def _copy(items: Tensor) -> Tensor:
    if _in_backward():
        raise RuntimeError(RECOMPUTED)
    return items.detach().clone()


def _gather(gathered: Sequence[Tensor], statistics: Sequence[Tensor]) -> None:
    if _in_backward():
        return
    merged = UpdateStatistics(*gathered).merge(UpdateStatistics(*statistics))
    for kept, value in zip(gathered, merged, strict=True):
        kept.copy_(value)


def _copy_and_save(items: Tensor) -> Tensor:
    # The metadata is one dictionary for the whole process: only who traces may write to it.
    saved = _saved_by_the_compiler() if torch.fx.traceback.has_preserved_node_meta() else nullcontext()
    with saved, internals.below_autograd():
        kept: Tensor = torch.ops.mnad.keep_items.default(items)
        return kept


@contextmanager
def _saved_by_the_compiler() -> Iterator[None]:
    """Marks an operator as selective checkpointing does: save the result, never recompute it."""
    meta = torch.fx.traceback.get_current_meta()
    before = meta.get("recompute")
    if before in (CheckpointPolicy.MUST_RECOMPUTE, CheckpointPolicy.PREFER_RECOMPUTE):
        raise RuntimeError(RECOMPUTED)
    meta["recompute"] = CheckpointPolicy.MUST_SAVE
    try:
        yield
    finally:
        meta.pop("recompute", None)
        if before is not None:
            meta["recompute"] = before


def _refuse(*_: Any) -> None:
    # Selective checkpointing may save the copy and recompute the update after it, which would move the items twice.
    raise RuntimeError(RECOMPUTED)


_caching_mode, _ = create_selective_checkpoint_contexts([])  # the mode in which a first pass runs
torch.library.register_torch_dispatch("mnad::keep_items", type(_caching_mode), _refuse)
_DEFINITION.impl("keep_items", _copy, "CompositeExplicitAutograd")
# Unmarked, a copy that torch.compile recomputes in the backward pass raises there.
_autograd_rule = _copy_and_save if internals.HAS_BELOW_AUTOGRAD else torch.library.fallthrough_kernel
_DEFINITION.impl("keep_items", _autograd_rule, "Autograd")
_DEFINITION.impl("gather_", _gather, "CompositeExplicitAutograd")
_DEFINITION.impl("gather_", torch.library.fallthrough_kernel, "Autograd")
