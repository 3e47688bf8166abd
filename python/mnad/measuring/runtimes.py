"""What executes the encoder and the decoder: PyTorch, or another runtime; the memory stays PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mnad.graphs.formats import Format, Graph
from mnad.graphs.networks import record_decoder, record_encoder
from mnad.graphs.onnx_format import OnnxFormat
from mnad.graphs.openvino_format import OpenVinoFormat
from mnad.measuring.options import Precision, RuntimeName
from mnad.models import Autoencoder
from mnad.runtime.devices import choose_device
from mnad.runtime.errors import ConfigError

OTHERS: dict[RuntimeName, Format] = {"openvino": OpenVinoFormat(), "onnxruntime": OnnxFormat()}


class CompiledEncoder:
    """An encoder that another runtime executes; called as :class:`mnad.models.autoencoder.Encoder`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __call__(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns the feature map and, if the decoder joins them, the outputs of the first three stages."""
        features, *skips = _executed(self.graph, [frames])
        return features, skips


class CompiledDecoder:
    """A decoder that another runtime executes; called as :class:`mnad.models.autoencoder.Decoder`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __call__(self, code: Tensor, skips: list[Tensor]) -> Tensor:
        """Turns the code back into a frame in [-1, 1]."""
        return _executed(self.graph, [code, *skips])[0]


def device_for(accelerator: str, runtime: RuntimeName) -> torch.device:
    """Returns the device that options name; for another runtime than PyTorch ``auto`` is the CPU.

    Raises:
        ConfigError: If there is no such device.
    """
    return choose_device("cpu" if accelerator == "auto" and runtime != "torch" else accelerator)


def check_runtime(runtime: RuntimeName, device: torch.device, precision: Precision) -> None:
    """Makes sure that another runtime than PyTorch is installed and can compute what is asked for.

    Raises:
        ConfigError: If not.
    """
    if device.type != "cpu":
        raise ConfigError(f"the runtime {runtime} computes on the CPU alone; leave --accelerator out, or give cpu")
    if precision != "32-true":
        raise ConfigError(
            f"the runtime {runtime} computes in 32-true, got precision {precision}; leave one of them out"
        )
    OTHERS[runtime].check_installed()


def compile_model(model: Autoencoder, size: int, runtime: RuntimeName) -> tuple[CompiledEncoder, CompiledDecoder]:
    """Hands a model's encoder and decoder to another runtime, which computes with as many threads as PyTorch.

    Args:
        model: In evaluation mode, in float32, on the CPU.
        size: S, height and width of its frames.
        runtime: Not ``torch``, see :func:`check_runtime`.

    """
    form, threads = OTHERS[runtime], torch.get_num_threads()
    encoder, decoder = (form.compile(record(model, size), threads) for record in (record_encoder, record_decoder))
    return CompiledEncoder(encoder), CompiledDecoder(decoder)


def _executed(graph: Graph, inputs: Sequence[Tensor]) -> list[Tensor]:
    return [torch.from_numpy(each) for each in graph([each.contiguous().numpy() for each in inputs])]
