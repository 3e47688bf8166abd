"""The state of streams in one safetensors file, so that a detector goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnad.artifacts.tensors import load_tensors, save_tensors
from mnad.evaluation.calibration import Calibration
from mnad.models import weights_hash
from mnad.runtime.errors import CheckpointError
from mnad.runtime.files import input_errors, sealed, unsealed
from mnad.watching.streams import Stream, Streams

FORMAT = "mnad-streams/1"
ARRAY = "array"  # stands for an array among notes


def save_streams(path: Path, streams: Streams, model: str, notes: Mapping[str, Any] | None = None) -> None:
    """Writes the state of all streams; whole or not at all.

    Args:
        path: The file.
        streams: Of one model.
        model: What tells the model from all others.
        notes: What else belongs to this state, as plain values and arrays.

    Raises:
        OutputError: If it cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for index, stream in enumerate(streams.by_name.values()):
        tensors[f"{index}.window"] = torch.from_numpy(np.array(stream.window, np.uint8))
        tensors[f"{index}.scores"] = torch.tensor(stream.scores, dtype=torch.float64)
        if stream.items is not None:
            tensors[f"{index}.items"] = stream.items.clone()  # streams may share what they have not updated yet
    plain = _without_arrays(notes or {}, tensors)
    held = {"streams": list(streams.by_name), "tensors": weights_hash(tensors), "notes": plain}
    header = {**_belongs_to(streams.calibration, model), **held}
    save_tensors(path, tensors, {"format": FORMAT, "header": json.dumps(sealed(header))})


def load_streams(path: Path, streams: Streams, model: str) -> dict[str, Any]:
    """Puts the state of all streams in place of what they are.

    Args:
        path: A file that :func:`save_streams` wrote.
        streams: Of the same model.
        model: What tells the model from all others.

    Returns:
        The notes that were written with it.

    Raises:
        CheckpointError: If there is no such file, it is damaged, or of another model or calibration; the streams then
            stay as they are.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no state of streams at {path}; save_state writes one")
    with input_errors(path, "a state of streams", CheckpointError):
        tensors, metadata = load_tensors(path)
        if metadata.get("format") != FORMAT:
            raise CheckpointError(f"{path} holds {metadata.get('format')!r}, not {FORMAT}")
        header = unsealed(json.loads(metadata["header"]))
        names, written, notes = header.pop("streams"), header.pop("tensors"), header.pop("notes", {})
        if written != weights_hash(tensors):
            raise CheckpointError(f"{path} does not hold the tensors that were written; copy it again")
        if header != _belongs_to(streams.calibration, model):
            raise CheckpointError(f"{path} is the state of another model, or of another calibration of this one")
        found = {name: _filled(streams.new(), index, tensors) for index, name in enumerate(names)}
    streams.by_name = found
    return dict(_with_arrays(notes, tensors))


def _filled(new: Stream, index: int, tensors: Mapping[str, Tensor]) -> Stream:
    return Stream(
        window=tuple(tensors[f"{index}.window"].numpy()),
        items=None if new.items is None else tensors[f"{index}.items"].to(new.items),
        scores=tuple(tensors[f"{index}.scores"].tolist()),
    )


def _belongs_to(calibration: Calibration, model: str) -> dict[str, Any]:
    return {"model": model, "calibration": calibration.identity}


def _without_arrays(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Returns plain values, with the names of tensors in place of arrays."""
    if isinstance(value, np.ndarray):
        name = f"array.{len(tensors)}"
        tensors[name] = torch.from_numpy(np.ascontiguousarray(value))
        return {ARRAY: name}
    if isinstance(value, Mapping):
        return {name: _without_arrays(each, tensors) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(each, tensors) for each in value]
    return value


def _with_arrays(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Returns what :func:`_without_arrays` was given."""
    if isinstance(value, dict):
        if set(value) == {ARRAY}:
            return tensors[value[ARRAY]].numpy()
        return {name: _with_arrays(each, tensors) for name, each in value.items()}
    return [_with_arrays(each, tensors) for each in value] if isinstance(value, list) else value
