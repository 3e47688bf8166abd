"""Tensors and a header in one safetensors file, which holds no code."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mnad.runtime.files import atomic_write


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Writes tensors into a safetensors file; the file that was there before stays until the new one is whole.

    Raises:
        OutputError: If it cannot be written.
    """
    dense = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(dense, temporary, metadata=metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads a safetensors file onto the CPU.

    Returns:
        The tensors by name, and the metadata.

    Raises:
        Exception: Of many kinds, if the file is damaged; see :func:`mnad.runtime.files.input_errors`.
    """
    with safe_open(path, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
        return tensors, opened.metadata() or {}


def load_metadata(path: Path) -> dict[str, str]:
    """Reads the metadata of a safetensors file alone.

    Raises:
        Exception: As :func:`load_tensors`.
    """
    with safe_open(path, framework="pt") as opened:
        return opened.metadata() or {}
