"""keep_items: a copy of the items for the backward pass, which no compiler takes away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.fx.traceback
import torch.utils._python_dispatch
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy

COMPUTED_AGAIN = (
    "this forward pass of the memory is computed again for the backward pass (activation checkpointing), when its own "
    'update has moved the items; use MemoryModule(..., update_on="call") and call apply_update() after '
    "optimizer.step(), or leave the memory out of what is checkpointed"
)
_DEFINITION = torch.library.Library("mnad", "FRAGMENT")
_DEFINITION.define("keep_items(Tensor items) -> Tensor")


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


@torch.library.register_fake("mnad::keep_items")
def _fake(items: Tensor) -> Tensor:
    return torch.empty_like(items)


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


_DEFINITION.impl("keep_items", torch.clone, "CompositeExplicitAutograd")
_DEFINITION.impl("keep_items", _keep, "Autograd")
