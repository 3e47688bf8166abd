"""The memory as an nn.Module, for any network."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mnad_ext
from mnad_ext import reference
from mnad_ext._distributed import merge_over_ranks
from mnad_ext.ops import _torch_internals as internals
from mnad_ext.ops.checkpointing import ITEMS_MOVED, gather_, is_recomputation, keep_items
from mnad_ext.statistics import UPDATE_RULES, UpdateRule, UpdateStatistics, zero_statistics

UpdateOn = Literal["forward", "call"]
UPDATE_ON: tuple[UpdateOn, ...] = get_args(UpdateOn)


class MemoryOutput(NamedTuple):
    """Result of a forward pass of :class:`MemoryModule`.

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

    ``items``, the (M, C) memory, is a buffer in float32 (float64 after ``.double()``): part of the state dict, changed
    by the update rule and not by the optimizer. Like BatchNorm's statistics it is updated in place. In training mode
    every forward pass is followed by one update; in evaluation mode only :meth:`update` changes the items. Where
    ``torch.distributed`` is initialised an update uses the queries of all ranks, which equals the update of one large
    batch; under ``nn.DataParallel`` it uses those of the first device alone.

    With ``update_on="call"`` forward passes in training mode only add up the statistics of their queries, and
    :meth:`apply_update` updates the items by all of them: call it after ``optimizer.step()``, or
    :meth:`discard_gathered` where that step is skipped. Several passes before it equal one of a large batch (gradient
    accumulation). A pass that activation checkpointing recomputes for the backward pass (``torch.utils.checkpoint``)
    reads the same items again and counts once. Every pass that runs within a backward pass is taken for a
    recomputation, even a first one in a hook.

    A backward pass needs the items that its forward pass has read. With ``update_on="forward"`` a forward pass in
    training mode keeps a copy of them. Otherwise update the items after the backward pass: if they have changed before,
    it raises, unless a checkpoint around compiled code, or a reentrant one in evaluation mode, hides the change. A
    tensor that you assign to ``items`` must own its memory: an expanded view cannot be updated in place.

    ``torch.export`` and ``torch.onnx.export`` record the module in plain PyTorch, as :mod:`mnad_ext.reference` has it,
    so that the graph runs where this package is not installed.

    Args:
        channels: C >= 1, the width of the feature map.
        num_items: M >= 1.
        update_rule: ``"max-all"`` (the released code), ``"max-assigned"`` (eq. 5) or ``"plain"``;
            ``None`` makes the items a parameter that the optimizer learns instead.
        update_on: ``"forward"``, at the end of each forward pass in training mode, or ``"call"``, when
            :meth:`apply_update` is called.
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
    _moved_since_pass = False  # if so, a recomputed pass would read other items; not tracked in compiled code

    def __init__(
        self,
        channels: int,
        num_items: int = 10,
        *,
        update_rule: UpdateRule | None = "max-all",
        update_on: UpdateOn = "forward",
        grad_through_weights: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, value in {"channels": channels, "num_items": num_items}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if update_rule is not None and update_rule not in UPDATE_RULES:
            raise ValueError(f"update_rule must be one of {UPDATE_RULES} or None, got {update_rule!r}")
        if update_on not in UPDATE_ON:
            raise ValueError(f"update_on must be one of {UPDATE_ON}, got {update_on!r}")
        self.channels = channels
        self.num_items = num_items
        self.update_rule = update_rule
        self.update_on = update_on
        self.grad_through_weights = grad_through_weights
        items = torch.empty(num_items, channels)
        if update_rule is None:
            self.items = nn.Parameter(items)
        else:
            self.register_buffer("items", items)
        if self._gathers:
            for name, value in zero_statistics(items)._asdict().items():
                self.register_buffer(f"gathered_{name}", value, persistent=False)
            self.register_load_state_dict_post_hook(_reset_gathered_after_loading)  # type: ignore[no-untyped-call]
        self.reset_items(generator)

    @torch.no_grad()
    def reset_items(self, generator: torch.Generator | None = None) -> None:
        """Draws new items, uniform in [0, 1), then scaled to unit length, and discards gathered statistics."""
        drawn = torch.rand(self.num_items, self.channels, generator=generator)
        self.items.copy_(F.normalize(drawn, dim=1))
        self._reset_gathered()

    def forward(self, features: Tensor) -> MemoryOutput:
        """Reads the memory, computes both losses and, in training mode, updates the items.

        Args:
            features: (B, C, H, W), the encoder's raw output, in any floating dtype; it need not be normalised.

        Returns:
            The readout, the losses and the nearest items, all against the items before the update.

        Raises:
            TypeError: If ``features`` is not a floating tensor.
            ValueError: If its shape or device does not fit the items.
            RuntimeError: If it is recomputed for a backward pass after its own update changed the items, or if other
                items were assigned since statistics were gathered.
        """
        updates = self.training and self.update_rule is not None
        # The backward pass needs the items that were read, and the update writes over them.
        items = self._kept_items() if updates and self.update_on == "forward" else self.items
        output, statistics = self._read(features, items)
        if updates:
            self._update_or_gather(
                _operators().update_statistics(features, items) if statistics is None else statistics
            )
        return output

    def _kept_items(self) -> Tensor:
        return self.items.clone() if _is_exported() else keep_items(self.items)

    def _read(self, features: Tensor, items: Tensor) -> tuple[MemoryOutput, UpdateStatistics | None]:
        """Reads items, and returns the statistics too where the same pass over the features computes them."""
        through = self.grad_through_weights
        if self.num_items > 1 and not _is_exported():
            step = mnad_ext.memory_step(features, items, grad_through_weights=through)
            nearest = step.indices[:, 0]
            output = MemoryOutput(step.output, step.weights, nearest, step.compactness, step.separateness)
            return output, step.statistics
        read, weights = _operators().memory_read(features, items, grad_through_weights=through)
        if self.num_items > 1:
            indices, _ = reference.assign_top2(features, items)
            nearest, separateness = indices[:, 0], reference.separateness(features, items, indices)
        else:
            nearest, separateness = torch.zeros_like(weights[:, 0], dtype=torch.int64), None
        compactness = reference.compactness(features, items, nearest)
        return MemoryOutput(read, weights, nearest, compactness, separateness), None

    @torch.no_grad()
    def _update_or_gather(self, statistics: UpdateStatistics) -> None:
        if not self._gathers:
            self._move(merge_over_ranks(statistics))
            return
        recomputed = is_recomputation()
        if recomputed and self._moved_since_pass:
            raise RuntimeError(ITEMS_MOVED)
        gather_(self._gathered, statistics if recomputed else merge_over_ranks(statistics))
        if not torch.compiler.is_compiling():
            self._moved_since_pass = False

    def _move(self, statistics: UpdateStatistics) -> None:
        assert self.update_rule is not None
        self.items.copy_(_operators().update_items(self.items, statistics, self.update_rule))

    @property
    def _gathers(self) -> bool:
        return self.update_rule is not None and self.update_on == "call"

    @property
    def _gathered(self) -> UpdateStatistics:
        gathered = UpdateStatistics(*(getattr(self, f"gathered_{name}") for name in UpdateStatistics._fields))
        if not _same_kind(gathered.weighted_sum, self.items):
            raise RuntimeError(
                f"passes were gathered for items {_described(gathered.weighted_sum)}, but the items are "
                f"{_described(self.items)} now; call discard_gathered() after items were replaced"
            )
        return gathered

    def _reset_gathered(self) -> None:
        if not self._gathers:
            return
        for name, value in zero_statistics(self.items)._asdict().items():
            gathered = getattr(self, f"gathered_{name}")
            if _same_kind(gathered, value):
                gathered.copy_(value)  # in place, as a CUDA graph needs it
            else:
                setattr(self, f"gathered_{name}", value)

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Moves every item towards the queries nearest to it (eq. 3 to 5), the same on all ranks.

        Args:
            features: (B, C, H, W) as for :meth:`forward`. Queries that are not finite are left out.

        Raises:
            RuntimeError: If the items are learned by gradient (``update_rule=None``).
        """
        self._check_has_update()
        self._move(merge_over_ranks(mnad_ext.update_statistics(features, self.items)))
        self._moved_since_pass = True

    @torch.no_grad()
    def apply_update(self) -> None:
        """Updates the items by all forward passes in training mode since the last call.

        Without any, the items stay unchanged. Call it after their backward passes.

        Raises:
            RuntimeError: If the items are learned by gradient, every forward pass updates them, or other items
                were assigned since statistics were gathered.

        Example:
            >>> import torch
            >>> memory = MemoryModule(8, 3, update_on="call")
            >>> before = memory.items.clone()
            >>> for _ in range(2):
            ...     _ = memory(torch.randn(1, 8, 4, 4))
            >>> torch.equal(memory.items, before)
            True
            >>> memory.apply_update()
            >>> torch.equal(memory.items, before)
            False
        """
        self._check_gathers()
        self._move(self._gathered)
        self._moved_since_pass = True
        self._reset_gathered()

    @torch.no_grad()
    def discard_gathered(self) -> None:
        """Discards the statistics of all forward passes since the last :meth:`apply_update`.

        For a step that is skipped, as ``torch.amp.GradScaler`` does where it finds infinities, and for items that were
        replaced by others. :meth:`reset_items` and ``load_state_dict`` do it by themselves.

        Raises:
            RuntimeError: If the items are learned by gradient, or every forward pass updates them.

        Example:
            >>> import torch
            >>> memory = MemoryModule(8, 3, update_on="call")
            >>> before = memory.items.clone()
            >>> _ = memory(torch.randn(1, 8, 4, 4))
            >>> memory.discard_gathered()
            >>> memory.apply_update()
            >>> torch.equal(memory.items, before)
            True
        """
        self._check_gathers()
        self._reset_gathered()

    def _check_has_update(self) -> None:
        if self.update_rule is None:
            raise RuntimeError("items with update_rule=None are learned by gradient and have no update")

    def _check_gathers(self) -> None:
        self._check_has_update()
        if not self._gathers:
            raise RuntimeError(
                'with update_on="forward" each forward pass updates the items and nothing is gathered; what you call '
                'is for update_on="call"'
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MemoryModule:
        # module.half() or .bfloat16() must not touch the memory: rounding the items at every update would freeze them.
        named = (*self.named_parameters(recurse=False), *self.named_buffers(recurse=False))
        precise = {name: value.detach() for name, value in named}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, value in precise.items():
            if (moved := getattr(self, name)).dtype in (torch.float16, torch.bfloat16):
                moved.data = value.to(moved.device)
        return self

    def extra_repr(self) -> str:
        """Describes the module in one line."""
        return (
            f"channels={self.channels}, num_items={self.num_items}, update_rule={self.update_rule!r}, "
            f"update_on={self.update_on!r}, grad_through_weights={self.grad_through_weights}"
        )


def _is_exported() -> bool:
    """Returns whether a graph is recorded that is to run where the operators of this package are not known."""
    return internals.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def _operators() -> ModuleType:
    return reference if _is_exported() else mnad_ext


@torch.no_grad()
def _reset_gathered_after_loading(memory: nn.Module, _: object) -> None:
    assert isinstance(memory, MemoryModule)
    memory._reset_gathered()


def _same_kind(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} in {tensor.dtype} on {tensor.device}"
