"""A pytest plugin: mnad_ext as a torch without private names would load it."""

from __future__ import annotations

import builtins

import torch  # noqa: F401  (has its own use for the names)

LACKING = {"_AutoDispatchBelowAutograd", "_current_level", "_version"}
_hasattr = builtins.hasattr

builtins.hasattr = lambda owner, name: name not in LACKING and _hasattr(owner, name)
import mnad_ext  # noqa: E402, F401

builtins.hasattr = _hasattr
