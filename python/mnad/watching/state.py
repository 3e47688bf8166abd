"""The state of streams in one safetensors file, so that a detector goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnad.artifacts.tensors import load_tensors, save_tensors
from mnad.evaluation.calibration import Calibration
from mnad.runtime.errors import CheckpointError
from mnad.runtime.files import input_errors, sealed, unsealed
from mnad.watching.streams import Stream, Streams

FORMAT = "mnad-streams/1"


def save_streams(path: Path, streams: Streams, weights: str) -> None:
    """Writes the state of all streams; whole or not at all.

    Args:
        path: The file.
        streams: Of one model.
        weights: The hash of the model's weights.

    Raises:
        OutputError: If it cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for index, stream in enumerate(streams.by_name.values()):
        tensors[f"{index}.window"] = torch.from_numpy(np.array(list(stream.window), np.uint8))
        tensors[f"{index}.scores"] = torch.tensor(list(stream.scores), dtype=torch.float64)
        if stream.items is not None:
            tensors[f"{index}.items"] = stream.items.clone()  # streams may share what they have not updated yet
    header = {**_belongs_to(streams.calibration, weights), "streams": list(streams.by_name)}
    save_tensors(path, tensors, {"format": FORMAT, "header": json.dumps(sealed(header))})


def load_streams(path: Path, streams: Streams, weights: str) -> None:
    """Puts the state of all streams in place of what they are.

    Args:
        path: A file that :func:`save_streams` wrote.
        streams: Of the same model.
        weights: The hash of the model's weights.

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
        names = header.pop("streams")
        if header != _belongs_to(streams.calibration, weights):
            raise CheckpointError(f"{path} is the state of another model, or of another calibration of this one")
        found = {name: _filled(streams.new(), index, tensors) for index, name in enumerate(names)}
    streams.by_name = found


def _filled(stream: Stream, index: int, tensors: Mapping[str, Tensor]) -> Stream:
    stream.window.extend(tensors[f"{index}.window"].numpy())
    stream.scores.extend(tensors[f"{index}.scores"].tolist())
    if stream.items is not None:
        stream.items = tensors[f"{index}.items"].to(stream.items)
    return stream


def _belongs_to(calibration: Calibration, weights: str) -> dict[str, Any]:
    stored = json.dumps(calibration.as_dict(), sort_keys=True)
    return {"weights": weights, "calibration": hashlib.sha256(stored.encode()).hexdigest()}
