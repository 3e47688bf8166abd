"""BatchNorm folded into the convolutions before it."""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mnad.models import Autoencoder


def fold_batchnorm(model: Autoencoder) -> Autoencoder:
    """Returns a network without BatchNorm that computes the same as the given one in evaluation mode, within rounding.

    Args:
        model: A trained network; it stays as it is.

    Returns:
        A copy in evaluation mode. It cannot be trained on, as the statistics of its batches are gone.

    Example:
        >>> import torch
        >>> from mnad.models import ModelConfig
        >>> folded = fold_batchnorm(Autoencoder(ModelConfig(width=4)))
        >>> any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        False
    """
    folded = copy.deepcopy(model).eval()
    for sequence in folded.modules():
        if isinstance(sequence, nn.Sequential):
            _fold_within(sequence)
    return folded


def _fold_within(sequence: nn.Sequential) -> None:
    named = list(sequence.named_children())
    for (name, conv), (norm_name, norm) in pairwise(named):
        if isinstance(norm, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
            transpose = isinstance(conv, nn.ConvTranspose2d)
            setattr(sequence, name, fuse_conv_bn_eval(conv, norm, transpose))
            delattr(sequence, norm_name)
