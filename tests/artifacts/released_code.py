"""Stand-ins of the released code's networks (Park et al., CVPR 2020), and files of them as people have them.

Names, widths and the order of channels are those of the released code; its modules are there while a file is written,
and cannot be imported when it is read.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import torch
import torch.nn.functional as F
from mnad.artifacts.torch_files import MAGIC, PROTOCOL
from torch import Tensor, nn

PREDICTION = "model.final_future_prediction_with_memory_spatial_sumonly_weight_ranking_top1"
RECONSTRUCTION = "model.Reconstruction"
MEMORY = "model.memory_final_spatial_sumonly_weight_ranking_top1"


def stage(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(*conv(into, out), *conv(out, out))


def conv(into: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=False)]


def upsample(into: int, out: int) -> nn.Sequential:
    up = nn.ConvTranspose2d(into, out, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(up, nn.BatchNorm2d(out), nn.ReLU(inplace=False))


class Encoder(nn.Module):
    def __init__(self, frames_in: int, channels: int, width: int) -> None:
        super().__init__()
        self.moduleConv1 = stage(frames_in * channels, width)
        self.modulePool1 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.moduleConv2 = stage(width, 2 * width)
        self.modulePool2 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.moduleConv3 = stage(2 * width, 4 * width)
        self.modulePool3 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.moduleConv4 = nn.Sequential(*conv(4 * width, 8 * width), nn.Conv2d(8 * width, 8 * width, 3, padding=1))
        self.moduleBatchNorm = nn.BatchNorm2d(8 * width)
        self.moduleReLU = nn.ReLU(inplace=False)

    def forward(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        first = self.moduleConv1(frames)
        second = self.moduleConv2(self.modulePool1(first))
        third = self.moduleConv3(self.modulePool2(second))
        return self.moduleConv4(self.modulePool3(third)), [first, second, third]


class Decoder(nn.Module):
    def __init__(self, channels: int, width: int, *, memory: bool, skips: bool, wide: bool) -> None:
        super().__init__()
        self.skips = skips
        grown = 2 if skips or wide else 1
        up = 2 if wide else 1
        self.moduleConv = stage((16 if memory else 8) * width, 8 * width)
        self.moduleUpsample4 = upsample(8 * width, up * 4 * width)
        self.moduleDeconv3 = stage(grown * 4 * width, 4 * width)
        self.moduleUpsample3 = upsample(4 * width, up * 2 * width)
        self.moduleDeconv2 = stage(grown * 2 * width, 2 * width)
        self.moduleUpsample2 = upsample(2 * width, up * width)
        last = nn.Conv2d(width, channels, 3, padding=1)
        self.moduleDeconv1 = nn.Sequential(*stage(grown * width, width), last, nn.Tanh())

    def forward(self, code: Tensor, skips: list[Tensor]) -> Tensor:
        def joined(x: Tensor, skip: Tensor) -> Tensor:
            return torch.cat((skip, x), dim=1) if self.skips else x

        x = self.moduleDeconv3(joined(self.moduleUpsample4(self.moduleConv(code)), skips[2]))
        x = self.moduleDeconv2(joined(self.moduleUpsample3(x), skips[1]))
        return self.moduleDeconv1(joined(self.moduleUpsample2(x), skips[0]))


class Memory(nn.Module):
    def __init__(self, items: int, channels: int) -> None:
        super().__init__()
        self.memory_size, self.feature_dim, self.key_dim = items, channels, channels
        self.temp_update = self.temp_gather = 0.1

    def forward(self, features: Tensor, keys: Tensor) -> Tensor:
        query = F.normalize(features, dim=1).permute(0, 2, 3, 1)
        read = (query @ keys.T).softmax(dim=-1) @ keys
        return torch.cat((query, read), dim=3).permute(0, 3, 1, 2)


def _get_thnn_function_backend() -> None:
    """What every module had as its _backend before torch 1.5."""


class Backend:
    def __reduce__(self) -> tuple[object, tuple[()]]:
        return _get_thnn_function_backend, ()


class convAE(nn.Module):  # noqa: N801 (its name in the released code)
    def __init__(
        self, frames_in: int = 4, channels: int = 3, width: int = 4, *, memory: bool = True, skips: bool = True,
        wide: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = Encoder(frames_in, channels, width)
        self.decoder = Decoder(channels, width, memory=memory, skips=skips, wide=wide)
        if memory:
            self.memory = Memory(10, 8 * width)

    def forward(self, frames: Tensor, keys: Tensor | None = None) -> Tensor:
        code, skips = self.encoder(frames)
        return self.decoder(code if keys is None else self.memory(code, keys), skips)


def make_network(**options: Any) -> convAE:
    """Returns one in eval mode, with BatchNorm statistics as no default has them, so that a confusion shows."""
    network = convAE(**options)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)
                module.num_batches_tracked.fill_(7)
    return network.eval()


def make_keys(width: int = 4, items: int = 10) -> Tensor:
    return F.normalize(torch.rand(items, 8 * width), dim=1)


@contextmanager
def released_modules(network: str) -> Iterator[None]:
    """The classes lie in the modules of the released code within the block, and nowhere else after it."""
    homes: dict[Any, str] = {convAE: network, Encoder: network, Decoder: network, Memory: MEMORY}
    homes[_get_thnn_function_backend] = "torch.nn.backends.thnn"
    before = {kind: kind.__module__ for kind in homes}
    names = {"model", *homes.values()}
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    for name in names:
        sys.modules[name] = ModuleType(name)
    for kind, home in homes.items():
        kind.__module__ = home
        setattr(sys.modules[home], kind.__name__, kind)
    try:
        yield
    finally:
        for kind, home in before.items():
            kind.__module__ = home
        for name in names:
            del sys.modules[name]
        sys.modules.update(hidden)


def save(path: Path, value: object, *, network: str = PREDICTION, zipped: bool = True) -> Path:
    """Writes a file as the released code does; before torch 1.6 it was not zipped."""
    with released_modules(network):
        torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def parallel(network: nn.Module) -> nn.DataParallel[nn.Module]:
    """Returns it as on a machine with a GPU, whose device stands in the file, too."""
    wrapped = nn.DataParallel(network)
    wrapped.dim, wrapped.output_device, wrapped.src_device_obj = 0, 0, torch.device("cuda", 0)
    return wrapped


def on_cuda(path: Path) -> Path:
    """Changes a file that is not zipped to say that its numbers lay on a GPU."""
    content = path.read_bytes()
    there = b"X\x06\x00\x00\x00cuda:0"
    assert content.count(b"X\x03\x00\x00\x00cpu") == 1  # the others refer to it
    path.write_bytes(content.replace(b"X\x03\x00\x00\x00cpu", there))
    return path


def write_zip(path: Path, parts: dict[str, bytes], compression: int = ZIP_STORED) -> Path:
    """Writes entries; torch does not compress them."""
    with ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def write_pickle(path: Path, content: bytes) -> Path:
    """Writes a zipped file without numbers around a pickle."""
    return write_zip(path, {"archive/data.pkl": content, "archive/version": b"3\n"})


def write_legacy(path: Path, content: bytes, place: int = 3) -> Path:
    """Writes a file before torch 1.6 with a pickle in place of one of its five: by default of the object."""
    parts = [pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, {"little_endian": True}, {}, [])]
    parts[place] = content
    path.write_bytes(b"".join(parts))
    return path
