"""A network with a MemoryModule as a graph for places where this package is not installed."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from mnad_ext import MemoryModule

TOLERANCE = 1e-5
LOADED_ALONE = """
import sys, torch
program = torch.export.load(sys.argv[1])
found = program.module()(torch.load(sys.argv[2]))
torch.save(list(found), sys.argv[3])
assert "mnad_ext" not in sys.modules
"""


class Own(nn.Module):
    """A user's network."""

    def __init__(self, num_items: int) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 16, 3, padding=1)
        self.memory = MemoryModule(16, num_items)
        self.decoder = nn.Conv2d(32, 3, 1)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        read = self.memory(self.encoder(frames))
        return self.decoder(read.output), read.compactness, read.weights, read.nearest


@pytest.fixture(params=[1, 5])
def own(request: pytest.FixtureRequest) -> Own:
    return Own(request.param).eval()


def expected(own: Own, batch: int) -> tuple[Tensor, list[Tensor]]:
    frames = torch.rand(batch, 3, 16, 12)
    with torch.no_grad():
        return frames, list(own(frames))


def assert_equal(found: list[Tensor], wanted: list[Tensor]) -> None:
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=TOLERANCE)


def exported(own: Own) -> torch.export.ExportedProgram:
    return torch.export.export(own, (torch.rand(2, 3, 16, 12),), dynamic_shapes=({0: Dim("batch", min=1, max=64)},))


def test_torch_export_runs_without_this_package(own: Own, tmp_path: Path) -> None:
    torch.export.save(exported(own), tmp_path / "own.pt2")
    frames, wanted = expected(own, 3)
    torch.save(frames, tmp_path / "frames.pt")
    files = [str(tmp_path / name) for name in ("own.pt2", "frames.pt", "found.pt")]
    subprocess.run([sys.executable, "-c", LOADED_ALONE, *files], check=True, cwd=tmp_path)
    assert_equal(torch.load(tmp_path / "found.pt"), wanted)


def test_onnx_export_runs_with_any_batch(own: Own, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    file = tmp_path / "own.onnx"
    torch.onnx.export(exported(own), (), file, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(file)
    for batch in (1, 3):
        frames, wanted = expected(own, batch)
        found = session.run(None, {session.get_inputs()[0].name: frames.numpy()})
        assert_equal([torch.from_numpy(each) for each in found], wanted)


def test_tracing_runs_in_openvino(own: Own) -> None:
    openvino = pytest.importorskip("openvino")
    frames, wanted = expected(own, 2)
    model = openvino.convert_model(own, example_input=frames)
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(frames.numpy())
    assert_equal([torch.from_numpy(found[index]) for index in range(len(wanted))], wanted)


def operators_of_this_package(graph: torch.fx.Graph) -> set[str]:
    return {str(node.target) for node in graph.nodes if "mnad" in str(node.target)}


@pytest.mark.parametrize("training", [False, True])
def test_compiled_code_calls_the_operators_and_an_exported_graph_does_not(training: bool) -> None:
    own = Own(5).train(training)
    traced: list[torch.fx.Graph] = []

    def keep(module: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        traced.append(module.graph)
        return module.forward

    torch._dynamo.reset()
    torch.compile(own, backend=keep, fullgraph=True)(torch.rand(2, 3, 16, 12))
    names = ["memory_step", "keep_items", "update_items"] if training else ["memory_step"]
    assert operators_of_this_package(*traced) == {f"mnad.{name}.default" for name in names}
    for strict in (False, True):
        program = torch.export.export(copy.deepcopy(own), (torch.rand(2, 3, 16, 12),), strict=strict)
        assert operators_of_this_package(program.graph) == set()


def test_in_training_mode_the_graph_updates_the_items() -> None:
    own = Own(5).train()
    before = own.memory.items.clone()
    program = exported(copy.deepcopy(own))  # its graph would share the items
    assert operators_of_this_package(program.graph) == set()
    frames, module = torch.rand(2, 3, 16, 12), program.module()
    own(frames)
    module(frames)
    moved = module.get_buffer("memory.items")
    assert not torch.allclose(moved, before)
    torch.testing.assert_close(moved, own.memory.items)
