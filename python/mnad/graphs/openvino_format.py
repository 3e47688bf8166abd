"""OpenVINO's intermediate representation: a graph as XML, and its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mnad.graphs.formats import Array, Format, Graph
from mnad.graphs.recording import Recorded, quietly

if TYPE_CHECKING:
    from openvino import Core, Model

PLACE = "mnad"  # of the metadata in the model's rt_info


class OpenVinoFormat(Format):
    """See the module."""

    modules = ("openvino",)
    extra = "openvino"

    def save(self, graph: Recorded, stem: Path, metadata: Mapping[str, str]) -> None:
        """See :meth:`Format.save`."""
        import openvino

        model = _converted(graph)
        for name, value in metadata.items():
            model.set_rt_info(value, [PLACE, name])
        openvino.serialize(model, stem.with_suffix(".xml"), stem.with_suffix(".bin"))

    def open(self, stem: Path, threads: int) -> Graph:
        """See :meth:`Format.open`."""
        return _Compiled(stem.with_suffix(".xml"), threads)

    def compile(self, graph: Recorded, threads: int) -> Graph:
        """See :meth:`Format.compile`."""
        return _Compiled(_converted(graph), threads)


class _Compiled(Graph):
    def __init__(self, model: Model | Path, threads: int) -> None:
        # By itself it computes in bfloat16 where the processor has that: errors of 1e-3, not of 1e-6.
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        self.model = _core().compile_model(model, "CPU", options)

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        found = self.model(list(inputs))
        return [found[index] for index in range(len(self.model.outputs))]


@cache
def _core() -> Core:
    """Returns the one Core of the process: where two have gone, they leave a signal stack that is gone, too.

    The next signal, such as the SIGTERM that ends a service, would then be a segmentation fault (OpenVINO 2026.4).
    """
    import openvino

    return openvino.Core()


def _converted(graph: Recorded) -> Model:
    import openvino

    with quietly():
        model = openvino.convert_model(graph.program)
    ports = dict(zip(model.inputs, graph.inputs.values(), strict=True))
    model.reshape({port: openvino.PartialShape([-1, *shape[1:]]) for port, shape in ports.items()})
    for port, name in zip([*model.inputs, *model.outputs], [*graph.inputs, *graph.outputs], strict=True):
        port.get_tensor().set_names({name})
    return model
