"""A workaround for PyTorch functions whose first call on a CPU may be of low accuracy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def settle(function: Callable[[Tensor], Tensor]) -> None:
    """Calls a function of single numbers once by one thread, so that all later calls of this process are right.

    PyTorch leaves exp, tanh and their like to MKL, which chooses a version of each when it is first called. Where
    several threads are the first, one of them may get a version of low accuracy, for that call alone: half of a tensor
    is then wrong by up to 5e-5 (https://github.com/pytorch/pytorch/issues/188792).
    """
    for dtype in (torch.float32, torch.float64):
        function(torch.zeros(1, dtype=dtype, device="cpu"))
