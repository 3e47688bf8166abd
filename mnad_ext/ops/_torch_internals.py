"""The private names of torch that the operators use, each in one place, and what replaces one that torch lacks.

The package runs with every torch since 2.11. A private name may vanish from a later one: then the results stay the
same, and what is lost is named below.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.autograd import forward_ad

HAS_BELOW_AUTOGRAD = hasattr(torch._C, "_AutoDispatchBelowAutograd")
HAS_FORWARD_LEVEL = hasattr(forward_ad, "_current_level")
HAS_VERSION = hasattr(Tensor, "_version")
HAS_EXPORTING_FLAG = hasattr(torch.compiler, "_is_exporting_flag")


def below_autograd() -> AbstractContextManager[None]:
    """Returns a context in which the dispatcher skips the autograd rules of operators.

    An operator's autograd rule calls the operator itself in it. In public only ``torch.library.register_autograd`` does
    so, which is what :func:`mnad_ext.ops._rules.register_gradient` falls back on; its calls take longer. Without the
    name the context does nothing, and torch.compile with ``aggressive_recomputation`` may refuse a MemoryModule that
    is updated in each forward pass.
    """
    return torch._C._AutoDispatchBelowAutograd() if HAS_BELOW_AUTOGRAD else nullcontext()


def may_carry_tangents() -> bool:
    """Whether a forward-mode derivative is being computed, without looking at a tensor.

    In public only ``forward_ad.unpack_dual`` tells it, of one tensor, which takes longer. Without the name the answer
    is always True, so that every tensor is asked.
    """
    return not HAS_FORWARD_LEVEL or forward_ad._current_level >= 0


def version_of(tensor: Tensor) -> int | Tensor:
    """Returns what :func:`has_changed` compares: the count of a tensor's changes in place.

    In public ``torch.autograd.graph.increment_version`` raises this count, but nothing reads it. Without the name it is
    a copy; comparing it waits for the device, so that a CUDA graph cannot capture it.
    """
    return tensor._version if HAS_VERSION else tensor.detach().clone()


def has_changed(tensor: Tensor, version: int | Tensor) -> bool:
    """Whether a tensor was written to since :func:`version_of` returned ``version``."""
    if isinstance(version, Tensor):
        traced = type(version) is not Tensor  # then it has no values
        return not traced and not torch.equal(tensor.detach(), version)
    return tensor._version != version


def is_exporting() -> bool:
    """Whether ``torch.export`` or ``torch.onnx.export`` records what runs.

    In public ``torch.compiler.is_exporting`` tells it, but to code that torch.compile traces torch 2.11 says True.
    """
    flag: bool = torch.compiler._is_exporting_flag if HAS_EXPORTING_FLAG else torch.compiler.is_exporting()
    return flag
