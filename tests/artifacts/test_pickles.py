"""Nothing that a file names is run, imported or changed."""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mnad.artifacts import pickles
from mnad.artifacts.torch_files import read_network, read_tensor
from mnad.runtime.errors import CheckpointError
from torch import nn

from tests.artifacts.released_code import make_network, save, write_legacy, write_pickle, write_zip

pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def called(module: str, attribute: str, argument: str) -> bytes:
    return b"\x80\x02" + name(module, attribute) + text(argument) + b"\x85R."


def called_by_stack(module: str, attribute: str, argument: str) -> bytes:
    return b"\x80\x04" + text(module) + text(attribute) + b"\x93" + text(argument) + b"\x85R."


def called_as_instance(module: str, attribute: str, argument: str) -> bytes:
    return b"(" + text(argument) + f"i{module}\n{attribute}\n.".encode()


FORMS = (called, called_by_stack, called_as_instance)
PLANTED = [("os", "system"), ("posix", "system"), ("builtins", "eval")]
CONTAINERS: list[Callable[[Path, bytes], Path]] = [
    write_pickle,
    write_legacy,
    lambda path, content: write_legacy(path, content, 2),
    lambda path, content: write_legacy(path, content, 4),
]


@pytest.mark.parametrize("container", CONTAINERS, ids=["zip", "legacy", "legacy, system", "legacy, keys"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize(("module", "attribute"), PLANTED)
def test_a_planted_call_is_refused_and_not_run(
    module: str,
    attribute: str,
    form: Callable[[str, str, str], bytes],
    container: Callable[[Path, bytes], Path],
    tmp_path: Path,
) -> None:
    made = tmp_path / "made"
    argument = f"touch {made}" if attribute == "system" else f"open({str(made)!r}, 'w').close()"
    content = form(module, attribute, argument)
    pickle.loads(content)
    assert made.exists()  # it does what it is planted for
    made.unlink()
    path = container(tmp_path / "model.pth", content)
    words = f"model.pth asks for {module}.{attribute}, which no checkpoint needs: it is refused, and nothing of it was"
    for read in (read_network, read_tensor):
        with pytest.raises(CheckpointError, match=words):
            read(path)
    assert not made.exists()


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("torch", "load"),
        ("torch.serialization", "load"),
        ("torch.nn.modules.linear", "os.system"),
        ("torch.nn.modules.linear.os", "system"),
        ("torch.nn.modules.activation", "LeakyReLU"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch.nn", "Memory"),
        ("torch", "convAE"),
        ("os", "Memory"),
        ("os.path", "Decoder"),
        ("builtins", "Encoder"),
        ("__builtin__", "Encoder"),
        ("__builtin__", "eval"),
        ("model.Reconstruction", "convAE.__init__"),
        ("model.Reconstruction", "helper"),
        ("copyreg", "_reconstructor"),
        ("this", "s"),
    ],
)
def test_every_other_name_is_refused_too(module: str, attribute: str, tmp_path: Path) -> None:
    for container in (write_pickle, write_legacy):
        for form in FORMS:
            path = container(tmp_path / "model.pth", form(module, attribute, "/nowhere"))
            with pytest.raises(CheckpointError, match=f"asks for {module}.{attribute}, which no checkpoint needs"):
                read_network(path)
    assert "this" not in sys.modules


def test_a_name_cannot_write_on_the_terminal(tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "model.pth", called_by_stack("os\x1b[2J", "system", ""))
    with pytest.raises(CheckpointError) as refused:
        read_network(path)
    assert str(refused.value).isprintable()


STORED = b"(" + text("storage") + name("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x01tQ"
TENSOR = name("torch._utils", "_rebuild_tensor") + b"(" + STORED + b"K\x00K\x01\x85K\x01\x85tR"
RECORD = name("model.Reconstruction", "convAE") + b")\x81"
ON_ALL = {
    "function": name("torch._utils", "_rebuild_tensor_v2"),
    "container": name("collections", "OrderedDict"),
    "builtin": name("builtins", "set"),
    "module class": name("torch.nn.modules.conv", "Conv2d"),
    "released class": name("model.Reconstruction", "convAE"),
    "storage type": name("torch", "FloatStorage"),
    "storage": STORED,
    "tensor": TENSOR,
    "set": name("builtins", "set") + b")R",
    "record": RECORD,
    "dictionary": name("collections", "OrderedDict") + b")R",
}


WORDS = {  # what is said where another thing than a Sealed is to be changed
    "module class": "TypeError",
    "released class": "TypeError",
    "set": "UnpicklingError|AttributeError",
    "record": "no weights|the attributes of a module are no dictionary",
    "dictionary": "no weights",
}


@pytest.mark.parametrize("attribute", ["name", "dtype", "numel", "_does", "__call__", "__setstate__", "planted"])
@pytest.mark.parametrize("target", ON_ALL)
@pytest.mark.parametrize("slots", [False, True])
def test_set_attributes_do_not_outlive_the_reading(target: str, attribute: str, slots: bool, tmp_path: Path) -> None:
    value = b"}" + text(attribute) + name("model.Reconstruction", "convAE") + b"s"
    state = b"N" + value + b"\x86" if slots else value
    path = write_zip(
        tmp_path / "model.pth",
        {"archive/data.pkl": b"\x80\x02" + ON_ALL[target] + state + b"b.", "archive/data/0": bytes(4)},
    )
    ours = [value for value in vars(pickles).values() if isinstance(value, type)]
    theirs = [torch._utils._rebuild_tensor_v2, OrderedDict, set, nn.Conv2d, torch.FloatStorage, torch.Tensor]
    before = [dict(vars(each)) for each in (*ours, *theirs)]
    with pytest.raises(CheckpointError, match=WORDS.get(target, "it sets attributes of what has none")):
        read_network(path)
    assert [dict(vars(each)) for each in (*ours, *theirs)] == before
    assert "encoder.moduleConv1.0.weight" in read_network(save(tmp_path / "good.pth", make_network())).tensors


def test_the_class_of_a_record_cannot_be_changed() -> None:
    kind = pickles._record_class("model.Reconstruction.convAE")
    with pytest.raises(ValueError, match="it sets attributes of a class"):
        kind.name = "another"


@pytest.mark.parametrize("number", [b"\xf0\xff\xff\xff", b"\x00\x00\x00\x10"])
def test_numbers_of_values_take_no_memory(number: bytes, tmp_path: Path) -> None:
    content = b"\x80\x02]r" + number + b"."  # up to 64 GiB of memory, for one list
    with pytest.raises(CheckpointError, match="it numbers its values otherwise"):
        read_network(write_pickle(tmp_path / "model.pth", content))


def test_a_registered_extension_is_not_looked_up(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="the registry of extensions"):
        read_network(write_pickle(tmp_path / "model.pth", b"\x80\x02\x82\x01."))


def test_modules_that_contain_themselves(tmp_path: Path) -> None:
    content = b"\x80\x02" + RECORD + b"q\x01}" + text("_modules") + b"}" + text("again") + b"h\x01ssb."
    with pytest.raises(CheckpointError, match="or they contain one another"):
        read_network(write_pickle(tmp_path / "model.pth", content))
