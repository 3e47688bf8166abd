"""By what a model is known: a hash of its weights and items."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of a state dict, hexadecimal: two models are one where all values of all names are equal.

    Example:
        >>> import torch
        >>> one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        >>> weights_hash(one.state_dict()) == weights_hash(other.state_dict())
        False
        >>> _ = other.load_state_dict(one.state_dict())
        >>> weights_hash(one.state_dict()) == weights_hash(other.state_dict())
        True
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
