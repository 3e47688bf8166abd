"""A pytest plugin: mnad_ext as a torch without private names would load it."""

from __future__ import annotations

import builtins

import torch

LACKING = {"_AutoDispatchBelowAutograd", "_current_level", "_version"}
if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13):  # earlier ones need it, and have it
    LACKING.add("_is_exporting_flag")
_hasattr = builtins.hasattr

builtins.hasattr = lambda owner, name: name not in LACKING and _hasattr(owner, name)
import mnad_ext  # noqa: E402, F401

builtins.hasattr = _hasattr
