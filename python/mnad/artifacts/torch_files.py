"""Reads files of ``torch.save`` since torch 0.4, and runs nothing of them; see :mod:`mnad.artifacts.pickles`."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mnad.artifacts.pickles import DATA_PARALLEL, ModuleRecord, Storage, StoredTensor, unpickle
from mnad.runtime.errors import CheckpointError
from mnad.runtime.files import input_errors

KIND = "a file of torch.save"
MAGIC = 0x1950A86A20F9469CFC6C  # the first value of a file before torch 1.6
PROTOCOL = 1001
HEAD = 512
TAR, TAR_PLACE = b"ustar", 257
WRAPPED = ("state_dict", "model", "model_state_dict", "net")  # where people keep a network in a dictionary
PARALLEL_PREFIX = "module."
MOST_PARTS = 10_000  # modules and tensors of a network


class StoredNetwork(NamedTuple):
    """A network's tensors.

    Attributes:
        tensors: By name, without the ``module.`` of a DataParallel.
        network: The class of the network with its module; None if the file does not say.
    """

    tensors: dict[str, Tensor]
    network: str | None


def read_network(path: Path) -> StoredNetwork:
    """Reads the tensors of a network onto the CPU.

    Args:
        path: Holds a module, one in DataParallel, a state dict, or a dictionary with one of these under a usual name.

    Raises:
        CheckpointError: If it does not, or is damaged, or asks for anything that a network does not need.
    """
    found = _read(path)
    with input_errors(path, KIND, CheckpointError):
        wrapped = [found[name] for name in WRAPPED if isinstance(found, dict) and name in found]
        network = next((each for each in wrapped if isinstance(each, dict | ModuleRecord)), found)
        if isinstance(network, ModuleRecord):
            stored = _tensors_of(network)
        else:
            stored = network if isinstance(network, dict) else {}
        if not stored:
            raise CheckpointError(f"{path} holds {_described(network)} and no weights of a network")
        for name, value in stored.items():
            if not isinstance(name, str) or not isinstance(value, StoredTensor):
                shown = repr(name[:80]) if isinstance(name, str) else "something that is no name"
                raise CheckpointError(
                    f"{path} holds no network: under {shown} it has {_described(value)}, not a tensor"
                )
        while all(name.startswith(PARALLEL_PREFIX) for name in stored):
            stored = {name.removeprefix(PARALLEL_PREFIX): value for name, value in stored.items()}
        return StoredNetwork({name: value.tensor() for name, value in stored.items()}, _class_of(network))


def read_tensor(path: Path) -> Tensor:
    """Reads a single tensor onto the CPU.

    Args:
        path: Holds it alone, or as all that is in a list or a dictionary.

    Raises:
        CheckpointError: If it does not, or is damaged, or asks for anything that a tensor does not need.
    """
    found = _read(path)
    with input_errors(path, KIND, CheckpointError):
        inside = list(found.values() if isinstance(found, dict) else found) if _is_container(found) else [found]
        if len(inside) != 1 or not isinstance(inside[0], StoredTensor):
            raise CheckpointError(f"{path} should hold one tensor alone and holds {_described(found)}")
        return inside[0].tensor()


def _read(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    with input_errors(path, KIND, CheckpointError):
        with path.open("rb") as file:
            head = file.read(HEAD)
        if head.startswith(b"PK\x03\x04"):
            return _read_zip(path)
        if MAGIC.to_bytes(10, "little") in head[:32]:
            return _read_legacy(path)
        if head[TAR_PLACE:].startswith(TAR):
            raise CheckpointError(
                f"{path} is in the tar format of torch before 0.1.10, which is not read; load it there and save it anew"
            )
        raise CheckpointError(f"{path} is not a file that torch.save writes")


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        roots = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1 or "/" in roots[0]:
            raise CheckpointError(f"{path} is a zip file, but not one that torch.save writes: it has no data.pkl")
        (root,) = roots
        if f"{root}/constants.pkl" in names or any(name.startswith(f"{root}/code/") for name in names):
            raise CheckpointError(
                f"{path} is a TorchScript archive, which holds code and is not read; save the state_dict() of its "
                "network by torch.save"
            )
        left = path.stat().st_size
        order = f"{root}/byteorder"
        _check_order(path, little=order not in names or _entry(archive, order, left) == b"little")
        content = _entry(archive, f"{root}/data.pkl", left)
        storages: dict[str, Storage] = {}
        value, _ = unpickle(content, 0, path, storages)
        for key, storage in storages.items():
            found = _entry(archive, f"{root}/data/{key}", left)
            left -= len(found)
            storage.fill(found)
        return value


def _entry(archive: zipfile.ZipFile, name: str, left: int) -> bytes:
    """Reads an entry, which may not claim more bytes than are left of the file: so none is read twice."""
    info = archive.getinfo(name)
    if not info.file_size == info.compress_size <= left:
        raise ValueError(f"{name} is not stored as torch.save stores it")
    return archive.read(info)


def _read_legacy(path: Path) -> Any:
    content = path.read_bytes()
    storages: dict[str, Storage] = {}
    at, head = 0, []
    for _ in ("magic number", "protocol", "system"):
        value, at = unpickle(content, at, path, storages)
        head.append(value)
    if head[:2] != [MAGIC, PROTOCOL]:
        raise ValueError(f"its protocol is not {PROTOCOL}")
    _check_order(path, little=bool(head[2]["little_endian"]))
    found, at = unpickle(content, at, path, storages)
    keys, at = unpickle(content, at, path, {})
    if keys != sorted(storages):
        raise ValueError("it does not hold the storages of its tensors")
    for key in keys:
        storage, begin = storages[key], at + 8
        if int.from_bytes(content[at:begin], "little", signed=True) != storage.numel:
            raise ValueError("a storage has not the size that its tensors know")
        at = begin + storage.size
        storage.fill(content[begin:at])
    return found


def _check_order(path: Path, *, little: bool) -> None:
    if not little:
        raise CheckpointError(f"{path} was written by a big-endian machine, which is not read; save it on another one")


def _tensors_of(network: ModuleRecord) -> dict[str, Any]:
    """Returns the parameters and buffers of a module and of all that is in it."""
    found: dict[str, Any] = {}
    waiting, visited = [("", network)], 0
    while waiting:
        prefix, record = waiting.pop()
        visited += 1
        for kind in ("_parameters", "_buffers"):
            found |= {f"{prefix}{name}": value for name, value in record.children(kind).items() if value is not None}
        for name, child in record.children("_modules").items():
            if isinstance(child, ModuleRecord):
                waiting.append((f"{prefix}{name}.", child))
        if visited + len(waiting) + len(found) > MOST_PARTS:
            raise ValueError("it has more modules than any network, or they contain one another")
    return found


def _class_of(network: object) -> str | None:
    if not isinstance(network, ModuleRecord):
        return None
    return _class_of(network.children("_modules").get("module")) if network.name == DATA_PARALLEL else network.name


def _is_container(found: object) -> bool:
    return isinstance(found, (dict, list, tuple))


def _described(found: object) -> str:
    if isinstance(found, ModuleRecord):
        return f"a network, {found.name}"
    if isinstance(found, StoredTensor):
        return f"a tensor of shape {found.size}"
    if isinstance(found, (dict, list, tuple, set)):
        return f"{len(found)} values"
    return f"a value of type {type(found).__name__}"
