"""The memory as a module for anyone's network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

import mnad_ext
from mnad_ext import reference
from mnad_ext.statistics import UPDATE_RULES, UpdateRule, UpdateStatistics


class MemoryOutput(NamedTuple):
    """What one pass through the memory gives.

    Attributes:
        output: (B, 2C, H, W) in the dtype of the features: unit queries, then readouts.
        weights: (B, M, H, W), the matching probabilities over items; they sum to 1 over M.
        nearest: (B, H, W) int64, the index of each query's nearest item.
        compactness: (B,), each sample's compactness loss; its mean is the loss of the batch.
        separateness: (B,), each sample's separateness loss; None where M = 1, as it needs a second item.
    """

    output: Tensor
    weights: Tensor
    nearest: Tensor
    compactness: Tensor
    separateness: Tensor | None


class MemoryModule(nn.Module):
    """A memory of M unit vectors that queries read and training updates (Park et al., CVPR 2020, section 3.2).

    ``items``, the (M, C) memory, is a buffer in float32 (float64 after ``.double()``): part of the state dict, moved by
    the update rule and not by the optimizer. In training mode every forward pass is followed by one update, as
    BatchNorm does with its statistics; in evaluation mode the items stay, and :meth:`update` moves them when asked to.
    Where ``torch.distributed`` is initialised an update uses the queries of all ranks, which equals the update of one
    large batch.

    Args:
        channels: C >= 1, the width of the feature map.
        num_items: M >= 1.
        update_rule: ``"max-all"`` (the released code), ``"max-assigned"`` (the paper's eq. 5) or ``"plain"``;
            ``None`` makes the items a parameter that the optimizer learns instead.
        grad_through_weights: Whether the gradient of the readout reaches the features through the matching
            probabilities. The released code cuts it there.
        generator: Draws the items; the default generator if None.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> from mnad_ext import MemoryModule
        >>> memory = MemoryModule(channels=512, num_items=10)
        >>> features = torch.randn(4, 512, 32, 32)
        >>> memory(features).output.shape
        torch.Size([4, 1024, 32, 32])
    """

    items: Tensor

    def __init__(
        self,
        channels: int,
        num_items: int = 10,
        *,
        update_rule: UpdateRule | None = "max-all",
        grad_through_weights: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, value in {"channels": channels, "num_items": num_items}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if update_rule is not None and update_rule not in UPDATE_RULES:
            raise ValueError(f"update_rule must be one of {UPDATE_RULES} or None, got {update_rule!r}")
        self.channels = channels
        self.num_items = num_items
        self.update_rule = update_rule
        self.grad_through_weights = grad_through_weights
        items = torch.empty(num_items, channels)
        if update_rule is None:
            self.items = nn.Parameter(items)
        else:
            self.register_buffer("items", items)
        self.reset_items(generator)

    @torch.no_grad()
    def reset_items(self, generator: torch.Generator | None = None) -> None:
        """Draws new items: uniform in [0, 1), then scaled to unit length."""
        drawn = torch.rand(self.num_items, self.channels, generator=generator)
        self.items.copy_(F.normalize(drawn, dim=1))

    def forward(self, features: Tensor) -> MemoryOutput:
        """Reads the memory, measures both losses and, in training mode, updates the items.

        Args:
            features: (B, C, H, W), the encoder's raw output, in any floating dtype; it need not be normalised.

        Returns:
            The readout, the losses and the nearest items, all against the items before the update.

        Raises:
            TypeError: If ``features`` is not a floating tensor.
            ValueError: If its shape or device does not fit the items.
        """
        updates = self.training and self.update_rule is not None
        if self.num_items == 1:
            return self._forward_one_item(features, updates)
        step = mnad_ext.memory_step(features, self.items, grad_through_weights=self.grad_through_weights)
        if updates:
            self._apply_statistics(step.statistics)
        return MemoryOutput(step.output, step.weights, step.indices[:, 0], step.compactness, step.separateness)

    def _forward_one_item(self, features: Tensor, updates: bool) -> MemoryOutput:
        output, weights = mnad_ext.memory_read(features, self.items, grad_through_weights=self.grad_through_weights)
        nearest = torch.zeros_like(weights[:, 0], dtype=torch.int64)
        compactness = reference.compactness(features, self.items, nearest)
        if updates:
            self.update(features)
        return MemoryOutput(output, weights, nearest, compactness, None)

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Moves every item towards the queries nearest to it (eq. 3 to 5), on all ranks alike.

        Args:
            features: (B, C, H, W) as for :meth:`forward`. Queries that are not finite are left out.

        Raises:
            RuntimeError: If the items are learned by gradient (``update_rule=None``).
        """
        if self.update_rule is None:
            raise RuntimeError("items with update_rule=None are learned by gradient and have no update")
        self._apply_statistics(mnad_ext.update_statistics(features, self.items))

    @torch.no_grad()
    def _apply_statistics(self, statistics: UpdateStatistics) -> None:
        assert self.update_rule is not None
        total = _summed_over_ranks(statistics)
        # A new tensor in place of the old one, never a write into it: the backward pass still needs the items that
        # were read, and under torch.compile even a copy of a buffer that is written to later may be read too late.
        self.items = mnad_ext.update_items(self.items, total, self.update_rule)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MemoryModule:
        # module.half() or .bfloat16() must not touch the items: rounding them at every update would freeze them.
        precise = self.items.detach()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.items.dtype in (torch.float16, torch.bfloat16):
            self.items.data = precise.to(self.items.device)
        return self

    def extra_repr(self) -> str:
        """Describes the module in one line."""
        return (
            f"channels={self.channels}, num_items={self.num_items}, update_rule={self.update_rule!r}, "
            f"grad_through_weights={self.grad_through_weights}"
        )


def _summed_over_ranks(statistics: UpdateStatistics) -> UpdateStatistics:
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return statistics
    for name, value in statistics._asdict().items():
        dist.all_reduce(value, dist.ReduceOp.MAX if name.startswith("peak") else dist.ReduceOp.SUM)
    return statistics
