"""Files of torch.save of all ages are read, number for number, and damaged ones are refused."""

from __future__ import annotations

import io
import pickle
import sys
import tarfile
from copy import copy
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from mnad.artifacts.torch_files import read_network, read_tensor
from mnad.runtime.errors import CheckpointError
from torch import nn

from tests.artifacts.released_code import (
    PREDICTION,
    Backend,
    convAE,
    make_network,
    on_cuda,
    parallel,
    save,
    write_legacy,
    write_zip,
)

pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")


def same(found: dict[str, torch.Tensor], network: nn.Module) -> bool:
    wanted = network.state_dict()
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_people_have(zipped: bool, tmp_path: Path) -> None:
    network = make_network()
    plain, wrapped = network.state_dict(), parallel(network)
    for value, named in [
        (network, True), (wrapped, True), (plain, False), (wrapped.state_dict(), False),
        *(({key: plain, "epoch": 3}, False) for key in ("state_dict", "model", "model_state_dict", "net")),
        ({"model": wrapped}, True),
    ]:  # fmt: skip
        found = read_network(save(tmp_path / "model.pth", value, zipped=zipped))
        assert same(found.tensors, network)
        assert found.network == (f"{PREDICTION}.convAE" if named else None)
    assert not any(name == "model" or name.startswith("model.") for name in sys.modules)


def test_numbers_from_a_gpu_are_read_onto_the_cpu(tmp_path: Path) -> None:
    network = make_network()
    found = read_network(on_cuda(save(tmp_path / "model.pth", network, zipped=False)))
    assert same(found.tensors, network)
    assert {value.device.type for value in found.tensors.values()} == {"cpu"}
    parts = tensor_parts(location="cuda:0", storage=torch.cuda.FloatStorage)
    assert read_tensor(write_zip(tmp_path / "keys.pt", parts)).device.type == "cpu"


def test_modules_before_torch_1_5(tmp_path: Path) -> None:
    network = make_network()
    for module in network.modules():
        module._backend = Backend()
    assert same(read_network(save(tmp_path / "model.pth", network, zipped=False)).tensors, network)


@pytest.mark.parametrize(
    "dtype", ["float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "float32"]
)
@pytest.mark.parametrize("zipped", [True, False])
def test_every_type_of_numbers(dtype: str, zipped: bool, tmp_path: Path) -> None:
    value = torch.arange(-3, 9).reshape(3, 4).to(getattr(torch, dtype))
    for written in (value, [value], {"items": value}, value.T[1:]):
        found = read_tensor(save(tmp_path / "keys.pt", written, zipped=zipped))
        wanted = written if isinstance(written, torch.Tensor) else value
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)
    parameter = nn.Parameter(torch.rand(2, 3))
    assert torch.equal(read_tensor(save(tmp_path / "keys.pt", parameter, zipped=zipped)), parameter)
    assert read_tensor(save(tmp_path / "keys.pt", torch.empty(0, 3), zipped=zipped)).shape == (0, 3)


class Stored:
    """Is pickled as a tensor that says whatever it likes of itself."""

    def __init__(self, pid: tuple[object, ...], *layout: object) -> None:
        self.pid, self.layout = Pid(pid), layout

    def __reduce__(self) -> tuple[object, ...]:
        return torch._utils._rebuild_tensor, (self.pid, *self.layout)


class Pid(tuple[object, ...]):
    pass


class Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> object:
        return tuple(value) if isinstance(value, Pid) else None


def tensor_parts(
    offset: object = 0, size: object = (2, 3), stride: object = (3, 1), *, numel: object = 6, view: object = None,
    location: str = "cpu", storage: object = torch.FloatStorage,
) -> dict[str, bytes]:  # fmt: skip
    stream = io.BytesIO()
    Pickler(stream, 2).dump(Stored(("storage", storage, "0", location, numel, view), offset, size, stride))
    return {"archive/data.pkl": stream.getvalue(), "archive/data/0": torch.arange(6.0).numpy().tobytes()}


def test_a_tensor_by_its_layout(tmp_path: Path) -> None:
    def read(*layout: object, **options: object) -> list[object]:
        return read_tensor(write_zip(tmp_path / "keys.pt", tensor_parts(*layout, **options))).tolist()

    assert read() == [[0, 1, 2], [3, 4, 5]]
    assert read(1, (2, 2), (1, 3)) == [[1, 4], [2, 5]]
    assert read(1, (2,), (1,), view=("part", 3, 3)) == [4, 5]


@pytest.mark.parametrize(
    ("layout", "options"),
    [
        ((1,), {}),
        ((0, (7,), (1,)), {}),
        ((0, (2, 3), (4, 1)), {}),
        ((-1,), {}),
        ((0, (2, 3), (-3, 1)), {}),
        ((0, (2, 3), (3,)), {}),
        ((0, (2.0, 3), (3, 1)), {}),
        ((0, (1 << 40,), (0,)), {}),
        ((0, (1 << 63, 0), (1, 1)), {}),
        ((0, (1,) * 65, (1,) * 65), {}),
        ((), {"numel": 1 << 40}),
        ((), {"numel": 5}),
        ((), {"numel": 7}),
        ((), {"numel": True}),
        ((False,), {}),
        ((), {"view": ("part", 3, 3)}),
        ((1, (3,), (1,)), {"view": ("part", 0, 3)}),
        ((-1, (3,), (1,)), {"view": ("part", 3, 3)}),
        ((0, (1,), (1,)), {"view": ("part", 3, 4)}),
        ((), {"storage": torch.DoubleStorage}),
    ],
)
def test_a_tensor_beyond_its_storage(layout: tuple[object, ...], options: dict[str, object], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "keys.pt", tensor_parts(*layout, **options))
    with pytest.raises(CheckpointError, match="keys.pt is not a file of torch.save, or it is damaged"):
        read_tensor(path)


def test_a_storage_has_one_type(tmp_path: Path) -> None:
    stream = io.BytesIO()
    kinds = (torch.FloatStorage, torch.IntStorage)
    Pickler(stream, 2).dump([Stored(("storage", kind, "0", "cpu", 6), 0, (6,), (1,)) for kind in kinds])
    path = write_zip(tmp_path / "model.pth", tensor_parts() | {"archive/data.pkl": stream.getvalue()})
    with pytest.raises(CheckpointError, match="it refers to one storage by two types or sizes"):
        read_tensor(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file(zipped: bool, tmp_path: Path) -> None:
    whole = save(tmp_path / "model.pth", make_network(width=1), zipped=zipped).read_bytes()
    for length in range(0, len(whole), len(whole) // 150):
        (tmp_path / "cut.pth").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut\.pth is not a file"):
            read_network(tmp_path / "cut.pth")


def test_files_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"

    def refused(words: str) -> None:
        for read in (read_network, read_tensor):
            with pytest.raises(CheckpointError, match=words):
                read(path)

    refused("there is no file .*model.pth")
    for content in (b"", b"not a model\n" * 100, pickle.dumps({"state_dict": {}})):
        path.write_bytes(content)
        refused("model.pth is not a file that torch.save writes")
    write_zip(path, {"notes.txt": b"hello"})
    refused("is a zip file, but not one that torch.save writes")
    write_zip(path, tensor_parts(), ZIP_DEFLATED)
    refused("is not stored as torch.save stores it")
    write_zip(path, tensor_parts() | {"archive/byteorder": b"big"})
    refused("was written by a big-endian machine")
    write_legacy(path, pickle.dumps({"little_endian": False}, 2), 2)
    refused("was written by a big-endian machine")
    write_legacy(path, pickle.dumps(1002, 2), 1)
    refused("its protocol is not 1001")
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("pickle"))
    refused("the tar format of torch before 0.1.10")


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Conv2d(3, 4, 3)), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="is a TorchScript archive, which holds code and is not read"):
        read_network(tmp_path / "model.pt")


def test_values_that_are_no_network(tmp_path: Path) -> None:
    for value, words in [
        (torch.zeros(2, 3), r"holds a tensor of shape \(2, 3\) and no weights"),
        ([torch.zeros(2)], "holds 1 values and no weights"),
        (nn.ReLU(), "holds a network, torch.nn.modules.activation.ReLU and no weights"),
        ({}, "holds 0 values and no weights"),
        ({"epoch": 3}, "under 'epoch' it has a value of type int, not a tensor"),
        ({3: torch.zeros(2)}, "under something that is no name"),
    ]:
        with pytest.raises(CheckpointError, match=words):
            read_network(save(tmp_path / "model.pth", value))
    for value, words in [
        (convAE(width=1), "should hold one tensor alone and holds a network, model.*convAE"),
        ([torch.zeros(2), torch.zeros(2)], "should hold one tensor alone and holds 2 values"),
    ]:
        with pytest.raises(CheckpointError, match=words):
            read_tensor(save(tmp_path / "keys.pt", value))


def test_storages_before_torch_1_6_are_those_of_the_tensors(tmp_path: Path) -> None:
    path = save(tmp_path / "keys.pt", torch.arange(6.0), zipped=False)
    whole, numbers = path.read_bytes(), 6 * 4
    counted = whole[: -numbers - 8] + (5).to_bytes(8, "little") + whole[-numbers:]
    keys = whole.rindex(b"X", 0, -numbers - 8) + 5
    named = whole[:keys] + b"x" + whole[keys + 1 :]
    for content, words in [
        (counted, "a storage has not the size that its tensors know"),
        (named, "it does not hold the storages of its tensors"),
    ]:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=words):
            read_tensor(path)


def test_no_byte_of_a_zip_is_read_twice(tmp_path: Path) -> None:
    """Many storages over the same bytes would take memory without end."""
    stream, parts = io.BytesIO(), {"archive/data.pkl": b"", "archive/data/0": bytes(4 << 20)}
    kind, count = torch.FloatStorage, 1 << 20
    Pickler(stream, 2).dump([Stored(("storage", kind, f"{key}", "cpu", count), 0, (1,), (1,)) for key in range(3)])
    path = write_zip(tmp_path / "model.pth", parts | {"archive/data.pkl": stream.getvalue()})
    with ZipFile(path, "a") as archive:
        first = archive.getinfo("archive/data/0")
        for key in (1, 2):
            archive.filelist.append(again := copy(first))
            again.filename = f"archive/data/{key}"
        archive._didModify = True
    with pytest.raises(CheckpointError, match="archive/data/[12] is not stored as"):
        read_tensor(path)
