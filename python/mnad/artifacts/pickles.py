"""Reads a pickle of ``torch.save``, and runs nothing that it names.

A pickle is a program: it names functions and classes, and calls them. Here a name is never imported. Each stands for an
object of ours, made anew for each file, that builds a tensor, a plain container or an inert record; every other name is
refused. What a file can get hold of has no attribute that it could set.
"""

from __future__ import annotations

import pickle
import pickletools
import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from mnad.runtime.errors import CheckpointError

STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
DATA_PARALLEL = "torch.nn.parallel.data_parallel.DataParallel"
MODULES = {
    "torch.nn.modules.conv.Conv2d", "torch.nn.modules.conv.ConvTranspose2d", "torch.nn.modules.batchnorm.BatchNorm2d",
    "torch.nn.modules.activation.ReLU", "torch.nn.modules.activation.Tanh", "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.modules.container.Sequential", "torch.nn.modules.container.ModuleList", DATA_PARALLEL,
}  # fmt: skip
RELEASED = ("convAE", "Encoder", "Decoder", "Memory")  # classes of the released code, whatever their files are called
NOT_RELEASED = {*sys.stdlib_module_names, "__builtin__", "torch"}
MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}
EXTENSIONS = {"EXT1", "EXT2", "EXT4"}
MOST_DIMENSIONS = 64  # of a tensor of torch
MOST_NAMES = 1000  # in the sets of a module
BEYOND_NUMBERS = 1 << 63


class Sealed:
    """What a pickle may use and not change: its opcode that sets attributes ends here."""

    __slots__ = ()

    def __setstate__(self, state: object) -> NoReturn:
        """Refuses the attributes."""
        raise ValueError("it sets attributes of what has none")


class SealedClass(type):
    """A class whose own attributes cannot be set."""

    def __setattr__(cls, name: str, value: object) -> NoReturn:
        raise ValueError("it sets attributes of a class")


class ModuleRecord(metaclass=SealedClass):
    """What a pickle says of a module, which is not one: it holds values and can do nothing.

    Attributes:
        name: The module's class, such as ``torch.nn.modules.conv.Conv2d``.
        state: Its attributes by name, parameters and submodules among them.
    """

    __slots__ = ("state",)
    name: str
    state: dict[Any, Any]

    def __new__(cls) -> ModuleRecord:
        """Makes one without attributes."""
        record = super().__new__(cls)
        record.state = {}
        return record

    def __setstate__(self, state: object) -> None:
        """Keeps the attributes as they are."""
        if not isinstance(state, dict):
            raise ValueError("the attributes of a module are no dictionary")
        self.state = state

    def children(self, kind: str) -> dict[Any, Any]:
        """Returns its ``_parameters``, ``_buffers`` or ``_modules`` by name."""
        found = self.state.get(kind, {})
        if not isinstance(found, dict):
            raise ValueError(f"the {kind} of a module are no dictionary")
        return found


class Storage(Sealed):
    """The numbers of one or several tensors.

    Args:
        dtype: Their type.
        numel: How many the file says there are; nothing is allocated for them.
    """

    __slots__ = ("content", "dtype", "numel")

    def __init__(self, dtype: torch.dtype, numel: int) -> None:
        self.dtype = dtype
        self.numel = numel
        self.content = bytearray()

    @property
    def size(self) -> int:
        """How many bytes the numbers take."""
        return self.numel * self.dtype.itemsize

    def fill(self, content: bytes) -> None:
        """Takes the numbers, little-endian.

        Raises:
            ValueError: If there are fewer or more than there should be.
        """
        if len(content) != self.size:
            raise ValueError(f"a storage should have {self.size} bytes and has {len(content)}")
        self.content = bytearray(content)


class Part(Sealed):
    """A run of ``numel`` numbers of a storage, from ``begin`` on."""

    __slots__ = ("begin", "numel", "storage")

    def __init__(self, storage: Storage, begin: int, numel: int) -> None:
        if not (_are_counts((begin, numel)) and begin + numel <= storage.numel):
            raise ValueError("a part of a storage lies outside of it")
        self.storage = storage
        self.begin = begin
        self.numel = numel


class StoredTensor(Sealed):
    """Where a tensor lies in its storage, all of it inside and without repetition of more than the storage has.

    Raises:
        ValueError: If it is not so.
    """

    __slots__ = ("offset", "size", "storage", "stride")

    def __init__(self, part: object, offset: Any, size: Any, stride: Any) -> None:
        if not isinstance(part, Part) or not isinstance(size, tuple) or not isinstance(stride, tuple):
            raise ValueError("a tensor has no storage or no size")
        if len(size) != len(stride) or len(size) > MOST_DIMENSIONS or not _are_counts((offset, *size, *stride)):
            raise ValueError("a tensor has a size that none can have")
        last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
        if prod(size) > part.numel or (prod(size) and last >= part.numel):
            raise ValueError(f"a tensor of size {size} does not lie in its storage of {part.numel} numbers")
        self.storage = part.storage
        self.offset = part.begin + offset
        self.size = size
        self.stride = stride

    def tensor(self) -> Tensor:
        """Returns the tensor, on the CPU; it shares memory with others of its storage."""
        if not self.storage.numel:
            return torch.empty(self.size, dtype=self.storage.dtype)
        return torch.frombuffer(self.storage.content, dtype=self.storage.dtype).as_strided(
            self.size, self.stride, self.offset
        )


class Unpickled(NamedTuple):
    """What a pickle holds.

    Attributes:
        value: Plain values, :class:`StoredTensor` and :class:`ModuleRecord`.
        end: Where the pickle ends.
    """

    value: Any
    end: int


def unpickle(content: bytes, begin: int, path: Path, storages: dict[str, Storage]) -> Unpickled:
    """Reads one pickle.

    Args:
        content: Holds it.
        begin: Where it begins.
        path: The file, for messages.
        storages: Is given the storages that the pickle names by their keys; :meth:`Storage.fill` is the caller's.

    Raises:
        CheckpointError: If it asks for anything but tensors, plain containers and modules of the released code.
        Exception: Of many kinds, if it is damaged; see :func:`mnad.runtime.files.input_errors`.
    """
    end = _end(content, begin)
    return Unpickled(_Unpickler(content[begin:end], path, storages).load(), end)


def _end(content: bytes, begin: int) -> int:
    """Returns where a pickle ends, once its numbers are known to ask for no more memory than it has bytes."""
    stream = BytesIO(content)
    stream.seek(begin)
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name in MEMO and not 0 <= (argument or 0) <= count:
            raise ValueError("it numbers its values otherwise than pickles do")
        if opcode.name in EXTENSIONS:
            raise ValueError("it uses the registry of extensions")
    return stream.tell()


class _Function(Sealed):
    """What stands for a function or a class that a pickle may call."""

    __slots__ = ("_does",)

    def __init__(self, does: Callable[..., object]) -> None:
        self._does = does

    def __call__(self, *arguments: Any) -> object:
        return self._does(*arguments)


class _StorageType(Sealed):
    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Dict(dict[Any, Any]):
    """Stands for an OrderedDict, whose attributes (a state dict's _metadata) are not needed."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, path: Path, storages: dict[str, Storage]) -> None:
        super().__init__(BytesIO(content), encoding="utf-8")
        self._path = path
        self._storages = storages
        self._names = _names()

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a name; nothing is imported."""
        full = f"{module}.{name}"
        if full not in self._names and name in RELEASED and module.partition(".")[0] not in NOT_RELEASED:
            self._names[full] = _record_class(full)
        if full not in self._names:
            shown = (full if full.isprintable() else ascii(full))[:200]
            raise CheckpointError(
                f"{self._path} asks for {shown}, which no checkpoint needs: it is refused, and nothing of it was run"
            )
        return self._names[full]

    def persistent_load(self, pid: Any) -> Any:
        """Returns what torch keeps outside of the pickle: numbers; and classes, which come with their source."""
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module" and isinstance(pid[1], SealedClass):
            return pid[1]
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise ValueError("it refers to something that is no storage")
        kind, key, numel = pid[1], pid[2], pid[4]
        if not isinstance(kind, _StorageType) or not isinstance(key, str) or not _are_counts((numel,)):
            raise ValueError("it refers to a storage that has no type, no name or no size")
        storage = self._storages.setdefault(key, Storage(kind.dtype, numel))
        if (storage.dtype, storage.numel) != (kind.dtype, numel):
            raise ValueError("it refers to one storage by two types or sizes")
        if len(pid) == 5 or pid[5] is None:
            return Part(storage, 0, numel)
        _, begin, count = pid[5]
        return Part(storage, begin, count)


def _names() -> dict[str, object]:
    """Returns what a pickle may ask for, by the names that it uses."""
    names: dict[str, object] = {name: _record_class(name) for name in MODULES}
    for place in ("torch", "torch.cuda"):
        names |= {f"{place}.{name}": _StorageType(dtype) for name, dtype in STORAGES.items()}
    functions: dict[str, Callable[..., object]] = {
        "torch._utils._rebuild_tensor": StoredTensor,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_parameter": lambda data, requires_grad, hooks: data,
        "torch.nn.backends.thnn._get_thnn_function_backend": lambda: None,
        "torch.Size": _size,
        "torch.device": lambda *named: None,
        "collections.OrderedDict": lambda: _Dict(),
        "builtins.set": _set,
        "__builtin__.set": _set,
    }
    return names | {name: _Function(does) for name, does in functions.items()}


def _record_class(name: str) -> SealedClass:
    return SealedClass("ModuleRecord", (ModuleRecord,), {"__slots__": (), "name": name})


def _rebuild_tensor(
    part: object, offset: Any, size: Any, stride: Any, requires_grad: object, hooks: object, metadata: object = None
) -> StoredTensor:
    return StoredTensor(part, offset, size, stride)


def _size(counts: object) -> tuple[Any, ...]:
    if not isinstance(counts, tuple) or len(counts) > MOST_DIMENSIONS:
        raise ValueError("it has a size that no tensor can have")
    return counts


def _set(names: object = ()) -> set[str]:
    if not isinstance(names, (list, tuple)) or len(names) > MOST_NAMES or not all(isinstance(n, str) for n in names):
        raise ValueError("it has a set of other things than names")
    return set(names)


def _are_counts(numbers: Iterable[object]) -> bool:
    return all(type(number) is int and 0 <= number < BEYOND_NUMBERS for number in numbers)
