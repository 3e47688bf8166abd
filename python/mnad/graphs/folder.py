"""An exported model on disk: its graphs, its items, and a manifest that says what they are.

``export.json`` names each file with its SHA-256. The graphs say of themselves, too, what their use needs, so that a
program without a reader of JSON can do without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from mnad.graphs.formats import Array, Format, Graph
from mnad.graphs.onnx_format import OnnxFormat
from mnad.graphs.openvino_format import OpenVinoFormat
from mnad.graphs.pt2_format import Pt2Format
from mnad.graphs.recording import Recorded
from mnad.runtime.errors import CheckpointError
from mnad.runtime.files import file_sha256, input_errors, sealed, unsealed

FORMAT = "mnad-graphs/1"
MANIFEST = "export.json"
ITEMS = "items.npy"
GraphFormat = Literal["onnx", "openvino", "pt2"]
FORMATS: dict[GraphFormat, Format] = {"onnx": OnnxFormat(), "openvino": OpenVinoFormat(), "pt2": Pt2Format()}
assert set(FORMATS) == set(get_args(GraphFormat))


@dataclass(frozen=True)
class ExportedModel:
    """An exported model, which its own runtime executes on arrays.

    Attributes:
        metadata: What its use needs, see the how-to page on exporting.
        items: (M, C) float32, the items that every stream begins with; None without a memory.
        graphs: The graph ``score`` and, for a model with a memory, ``update``.
        inputs: For each graph the shapes of its inputs by name, without the batch.
        outputs: For each graph the names of its outputs.

    """

    metadata: dict[str, str]
    items: NDArray[np.float32] | None
    graphs: Mapping[str, Graph]
    inputs: Mapping[str, Mapping[str, tuple[int, ...]]]
    outputs: Mapping[str, list[str]]

    @staticmethod
    def open(folder: str | Path, threads: int | None = None) -> ExportedModel:
        """Reads an exported model, once it is known to be what was written.

        Args:
            folder: What ``mnad export`` wrote.
            threads: That its runtime computes with; as many as PyTorch's if None.

        Raises:
            CheckpointError: If a file is missing or not the one that was written, or the manifest is none.
            ConfigError: If its runtime is not installed.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        with input_errors(folder / MANIFEST, "the manifest of an exported model", CheckpointError):
            for part in manifest["files"]:
                _check_file(folder / Path(part["file"]).name, part["sha256"])
            form = FORMATS[manifest["graph_format"]]
            inputs = {
                name: {each: tuple(shape[1:]) for each, shape in graph["inputs"].items()}
                for name, graph in manifest["graphs"].items()
            }
            outputs = {name: list(graph["outputs"]) for name, graph in manifest["graphs"].items()}
            items = np.load(folder / ITEMS, allow_pickle=False) if "update" in outputs else None
        form.check_installed()
        threads = torch.get_num_threads() if threads is None else threads
        graphs = {name: form.open(folder / name, threads) for name in outputs}
        return ExportedModel(manifest["metadata"], items, graphs, inputs, outputs)

    def score(self, pixels: Array, items: Array | None) -> dict[str, Array]:
        """Returns all that scoring computes of windows, by name.

        Args:
            pixels: (B, T, S, S, C_img) uint8; the last frame of each window is the one that is scored.
            items: (B, M, C) float32, of each window's own memory; None without a memory.

        Raises:
            TypeError: If an array is missing, or not of its dtype; a runtime would cast it silently.
            ValueError: If its shape does not fit.
        """
        found = self._run("score", {"pixels": pixels} | ({} if items is None else {"items": items}))
        return dict(zip(self.outputs["score"], found, strict=True))

    def update(self, features: Array, items: Array) -> Array:
        """Returns the items (B, M, C) after an update by the features (B, C, h, w) of the same windows.

        Raises:
            TypeError, ValueError: As :meth:`score`.
        """
        return self._run("update", {"features": features, "items": items})[0]

    def _run(self, graph: str, arrays: Mapping[str, Array]) -> list[Array]:
        expected = self.inputs[graph]
        if arrays.keys() != expected.keys():
            raise TypeError(f"the graph {graph} takes {', '.join(expected)}, got {', '.join(arrays)}")
        batch = next(iter(arrays.values())).shape[:1]
        for name, array in arrays.items():
            dtype = np.uint8 if name == "pixels" else np.float32
            if array.dtype != dtype:
                raise TypeError(f"{name} must be {dtype.__name__}, got {array.dtype}")
            if array.shape != (*batch, *expected[name]):
                shape = ", ".join(map(str, expected[name]))
                raise ValueError(f"{name} must be (B, {shape}), with one B for all, got {array.shape}")
        return self.graphs[graph](list(arrays.values()))


def is_exported_model(folder: Path) -> bool:
    """Returns whether a folder holds an exported model."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns what an exported model says of itself.

    Raises:
        CheckpointError: If the manifest is none.
    """
    path = folder / MANIFEST
    with input_errors(path, "the manifest of an exported model", CheckpointError):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise CheckpointError(f"{path} is of format {content['format']!r}, not {FORMAT}")
        return unsealed(content)


def write_exported_model(
    folder: Path,
    graph_format: GraphFormat,
    graphs: Mapping[str, Recorded],
    items: NDArray[np.float32] | None,
    metadata: Mapping[str, str],
    told: Mapping[str, Any],
) -> None:
    """Writes an exported model.

    Args:
        folder: An empty folder.
        graph_format: Of the graphs.
        graphs: By their names.
        items: (M, C); None without a memory.
        metadata: What their use needs.
        told: What else the manifest is to say, as JSON.
    """
    for name, graph in graphs.items():
        FORMATS[graph_format].save(graph, folder / name, metadata)
    if items is not None:
        np.save(folder / ITEMS, items)
    files = [
        {"file": path.name, "bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in folder.iterdir()
    ]
    shapes = {name: {each: ["B", *shape[1:]] for each, shape in graph.inputs.items()} for name, graph in graphs.items()}
    content = {
        "format": FORMAT,
        "graph_format": graph_format,
        "graphs": {name: {"inputs": shapes[name], "outputs": list(graph.outputs)} for name, graph in graphs.items()},
        "files": sorted(files, key=lambda each: str(each["file"])),
        "metadata": dict(metadata),
        **told,
    }
    _write_manifest(folder, content)


def note_check(folder: Path, check: Mapping[str, Any]) -> None:
    """Adds to the manifest how an exported model was compared with its original."""
    _write_manifest(folder, {**read_manifest(folder), "check": check})


def _write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(sealed(content), indent=1) + "\n", encoding="utf-8")


def _check_file(path: Path, digest: str) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; an exported model needs all files that its {MANIFEST} names")
    if file_sha256(path) != digest:
        raise CheckpointError(f"{path} is not the file that its {MANIFEST} tells of; copy or export it again")
