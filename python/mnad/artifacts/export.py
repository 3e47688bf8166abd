"""Weights in half precision, split into files that are small enough to be sent, with a manifest that joins them again.

A folder of them holds ``manifest.json`` and safetensors files; the manifest names each with its size and SHA-256. A
trained model is passed on as such a folder: :func:`mnad.artifacts.checkpoint.load_checkpoint` and ``mnad score`` take
it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from mnad.artifacts.tensors import save_tensors
from mnad.models.identity import weights_hash
from mnad.runtime.errors import CheckpointError, OutputError
from mnad.runtime.files import atomic_write, file_sha256, input_errors, sealed, unsealed

FORMAT = "mnad-export/1"
MANIFEST = "manifest.json"
USUAL = "usual-{}.safetensors"  # with the beginning of its digest
LARGEST_FILE = 16_000_000  # bytes; some ways of sending end at 16 MiB


def is_export(path: Path) -> bool:
    """Returns whether a folder holds exported weights."""
    return (path / MANIFEST).is_file()


def write_export(
    folder: Path, tensors: dict[str, Tensor], header: dict[str, Any], *, largest_file: int = LARGEST_FILE
) -> Path:
    """Writes weights, kernels of convolutions in float16 and all else in its own precision; the manifest comes last.

    Args:
        folder: Made if need be. What an earlier export left there is replaced, but for a calibration of these weights.
        tensors: Weights by name.
        header: What else is to be known of them, as JSON.
        largest_file: The most bytes of a file. A tensor is never split, so one that is larger has a larger file.

    Returns:
        The manifest.

    Raises:
        OutputError: If it cannot be written, or a weight does not fit into float16.
    """
    stored = {name: _stored(name, tensor) for name, tensor in tensors.items()}
    parts = _parts({name: tensor.nbytes for name, tensor in stored.items()}, largest_file - _head_bytes(stored))
    listed = []
    for number, names in enumerate(parts, 1):
        path = folder / f"weights-{number}-of-{len(parts)}.safetensors"
        save_tensors(path, {name: stored[name] for name in names})
        listed.append({"file": path.name, "bytes": path.stat().st_size, "sha256": file_sha256(path)})
    weights = weights_hash(_as_read(stored))
    header = {**header, **_calibration_of(folder, weights)}
    _write_manifest(folder, {"format": FORMAT, "weights": weights, "header": header, "parts": listed})
    for path in folder.glob("weights-*-of-*.safetensors"):
        if path.name not in {part["file"] for part in listed}:
            path.unlink()
    _drop_others(folder, header.get("usual"))
    return folder / MANIFEST


def read_export(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Joins exported weights.

    Returns:
        The weights by name, in float32 or their own precision; the tensors of their calibration; and the header.

    Raises:
        CheckpointError: If a file is missing or not the one that was written, or the manifest is none.
    """
    path, manifest = folder / MANIFEST, _manifest(folder)
    with input_errors(path, "a manifest of exported weights", CheckpointError):
        parts = [(folder / Path(part["file"]).name, part["sha256"]) for part in manifest["parts"]]
        header = manifest["header"]
        usual = header.get("usual")
    tensors: dict[str, Tensor] = {}
    for part, digest in parts:
        tensors |= _read_part(part, digest, path)
    return _as_read(tensors), {} if usual is None else _read_part(_usual_file(folder, usual), usual, path), header


def read_header(folder: Path) -> dict[str, Any]:
    """Returns what exported weights say of themselves, without reading them.

    Raises:
        CheckpointError: If the manifest is none.
    """
    with input_errors(folder / MANIFEST, "a manifest of exported weights", CheckpointError):
        header: dict[str, Any] = _manifest(folder)["header"]
    return header


def read_weights_hash(folder: Path) -> str:
    """Returns the hash of exported weights as they are read, see :func:`mnad.models.weights_hash`.

    Raises:
        CheckpointError: If the manifest is none.
    """
    with input_errors(folder / MANIFEST, "a manifest of exported weights", CheckpointError):
        return str(_manifest(folder)["weights"])


def keep_calibration(folder: Path, calibration: dict[str, Any], usual: dict[str, Tensor]) -> None:
    """Stores a calibration of exported weights in their manifest, and the tensors that belong to it beside that.

    Raises:
        CheckpointError: If the manifest is none.
        OutputError: If it cannot be written.
    """
    content = _manifest(folder)
    digest = None
    if usual:
        written = folder / USUAL.format("new")
        save_tensors(written, usual)
        digest = file_sha256(written)
        written.replace(_usual_file(folder, digest))
    content["header"] |= {"calibration": calibration, "usual": digest}
    _write_manifest(folder, content)
    _drop_others(folder, digest)


def _calibration_of(folder: Path, weights: str) -> dict[str, Any]:
    """Returns the calibration of an earlier export of the same weights; earlier versions did not say of which."""
    try:
        earlier = _manifest(folder)
    except CheckpointError:
        return {}
    if earlier.get("weights") != weights:
        return {}
    return {name: earlier["header"][name] for name in ("calibration", "usual") if name in earlier["header"]}


def _usual_file(folder: Path, digest: str) -> Path:
    return folder / USUAL.format(digest[:16])


def _drop_others(folder: Path, digest: str | None) -> None:
    """Removes the tensors of calibrations that the manifest no longer names."""
    kept = None if digest is None else _usual_file(folder, digest)
    for path in folder.glob(USUAL.format("*")):
        if path != kept:
            path.unlink()


def _read_part(part: Path, digest: str, manifest: Path) -> dict[str, Tensor]:
    if not part.is_file():
        raise CheckpointError(f"{part} is missing; {manifest} needs all its files beside it")
    content = part.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(f"{part} is not the file that {manifest} tells of; fetch or export it again")
    with input_errors(part, "a file of weights", CheckpointError):
        tensors: dict[str, Tensor] = load(content)
        return tensors


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    with input_errors(path, "a manifest of exported weights", CheckpointError):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise CheckpointError(f"{path} is of format {content['format']!r}, not {FORMAT}")
        return unsealed(content)


def _write_manifest(folder: Path, content: dict[str, Any]) -> None:
    with atomic_write(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(sealed(content), indent=1) + "\n")


def _as_read(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns weights as a model takes them, by whose hash it is known."""
    return {name: value.float() if value.dtype == torch.float16 else value for name, value in stored.items()}


def _stored(name: str, tensor: Tensor) -> Tensor:
    """Returns a weight as it is stored; small ones, such as a BatchNorm's statistics or the items, stay precise."""
    if tensor.ndim < 4 or not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    if not half.isfinite().all():
        raise OutputError(f"the weight {name} does not fit into float16: its largest value is {tensor.abs().max():g}")
    return half


def _parts(sizes: dict[str, int], largest: int) -> list[list[str]]:
    """Puts the largest first, each where it fits first."""
    parts: list[list[str]] = []
    room: list[int] = []
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        place = next((index for index, left in enumerate(room) if size <= left), None)
        if place is None:
            place = len(parts)
            parts.append([])
            room.append(largest)
        parts[place].append(name)
        room[place] -= size
    return parts


def _head_bytes(tensors: dict[str, Tensor]) -> int:
    # A safetensors file begins with a line of JSON for each tensor, of less than 160 bytes beside its name.
    return sum(160 + len(name) for name in tensors)
