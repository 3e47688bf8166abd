"""Training steps of a MemoryModule, which several tests take in different ways."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mnad_ext import MemoryModule

Pass = Callable[[MemoryModule, Tensor], Tensor]


def features(B: int = 2) -> Tensor:
    return torch.randn(B, 16, 5, 7)


def loss_of(memory: MemoryModule, x: Tensor) -> Tensor:
    out = memory(x * 2)
    loss: Tensor = out.output.square().sum() + out.weights.square().sum() + out.compactness.sum()
    return loss if out.separateness is None else loss + out.separateness.sum()


def trained(memory: MemoryModule, one_pass: Pass, steps: int = 3) -> list[Tensor]:
    """Gradients of some steps, and the items after them."""
    grads = []
    torch.manual_seed(1)
    for _ in range(steps):
        x = features().to(memory.items.device).requires_grad_()
        one_pass(memory, x).backward()
        assert x.grad is not None
        grads.append(x.grad.clone())  # a CUDA graph writes over it
        if memory.update_on == "call":
            memory.apply_update()
    return [*grads, memory.items]
