"""Loads the compiled module, which registers the operators, and reports how it was built."""

from __future__ import annotations

from typing import TypedDict

import torch  # noqa: F401  (its libraries must be loaded before the module that links to them)

try:
    from mnad_ext import _C
except ImportError as error:
    raise ImportError(
        f"the compiled module mnad_ext._C cannot be loaded: {error}. It is built when the package is installed; after "
        "a change of torch or Python install it again: pip install --no-build-isolation --force-reinstall --no-deps ."
    ) from error


class BuildInfo(TypedDict):
    """How the extension was built; see :func:`build_info`."""

    version: str
    torch: str
    torch_floor: str
    compiler: str
    debug: bool
    cuda: str | None
    cuda_architectures: str
    instruction_sets: str
    instruction_set_in_use: str


def build_info() -> BuildInfo:
    """Returns how the extension was built.

    Returns:
        ``version`` of the package, ``torch`` it was built with, ``torch_floor``, the oldest torch it runs with,
        ``compiler``, ``debug``, ``cuda`` toolkit or None, ``cuda_architectures`` and ``instruction_sets`` (each
        separated by spaces), ``instruction_set_in_use`` on this processor.

    Example:
        >>> from mnad_ext import build_info
        >>> build_info()["instruction_sets"].split()[0]
        'baseline'
    """
    info: BuildInfo = _C.build_info()
    return info
