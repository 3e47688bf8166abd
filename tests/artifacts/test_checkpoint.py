from __future__ import annotations

import json
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mnad.artifacts.checkpoint import load_checkpoint, save_checkpoint
from mnad.runtime.errors import CheckpointError, OutputError
from mnad.runtime.files import sealed, unsealed
from safetensors import safe_open
from safetensors.torch import save_file


def test_round_trip(trained: Path, tmp_path: Path) -> None:
    first = load_checkpoint(trained)
    save_checkpoint(tmp_path / "again.safetensors", first)
    second = load_checkpoint(tmp_path / "again.safetensors")
    assert replace(first, weights={}, optimizer=None, loop={}) == replace(second, weights={}, optimizer=None, loop={})
    assert all(torch.equal(first.loop[name], second.loop[name]) for name in ("usage", "totals"))
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert "memory.items" in first.weights
    assert (first.epoch, first.step) == (2, 36)


def test_a_calibration_is_kept_and_older_files_have_none(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    calibration = {"fps": 25.0, "bounds": {"psnr": [20.0, 30.0], "distance": None}}
    save_checkpoint(path, replace(load_checkpoint(trained), calibration=calibration))
    assert load_checkpoint(path).calibration == calibration
    with safe_open(path, framework="pt") as opened:
        header = json.loads(opened.metadata()["header"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    for name in ("calibration", "tensors", "sha256"):
        del header[name]
    save_file(tensors, path, {"format": "mnad-checkpoint/1", "header": json.dumps(header)})
    older = load_checkpoint(path)
    assert older.calibration is None
    assert older.step == 36


def test_the_optimizer_goes_on_where_it_was(trained: Path) -> None:
    checkpoint = load_checkpoint(trained)
    assert checkpoint.optimizer is not None
    model = checkpoint.build_model()
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.load_state_dict(checkpoint.optimizer)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)  # the cosine at the second of two epochs
    state = optimizer.state[next(model.parameters())]
    assert state["step"] == 36
    assert state["exp_avg_sq"].abs().sum() > 0


def test_nothing_is_unpickled(trained: Path) -> None:
    data = (trained / "checkpoint.safetensors").read_bytes()
    assert data[8:9] == b"{"  # a JSON header follows the length; no pickle, no zip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a checkpoint"),
        (b"\x00" * 100, "is not a checkpoint"),
        (b"PK\x03\x04 a zip of pickles", "is not a checkpoint"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_a_truncated_checkpoint(trained: Path, tmp_path: Path) -> None:
    whole = (trained / "checkpoint.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="it is damaged"):
        load_checkpoint(tmp_path / "cut.safetensors")


def test_other_safetensors_files(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not an mnad-checkpoint/1 checkpoint"):
        load_checkpoint(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        load_checkpoint(tmp_path)


def test_weights_of_another_network(trained: Path) -> None:
    checkpoint = load_checkpoint(trained)
    other = replace(checkpoint, config=replace(checkpoint.config, width=8))
    with pytest.raises(CheckpointError, match=r"decoder.entry.0.bias should be \(64,\) and is \(32,\)"):
        other.build_model()


def test_a_full_disk_keeps_the_old_checkpoint(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    shutil.copy(trained / "checkpoint.safetensors", path)
    before = path.read_bytes()
    checkpoint = load_checkpoint(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        with pytest.raises(OutputError, match="cannot write .*checkpoint.safetensors"):
            save_checkpoint(path, checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_a_checkpoint_that_is_not_what_was_written(trained: Path, tmp_path: Path) -> None:
    content = bytearray((trained / "checkpoint.safetensors").read_bytes())
    content[-9] ^= 64  # in a tensor
    (tmp_path / "tensor.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="does not hold the tensors that were written"):
        load_checkpoint(tmp_path / "tensor.safetensors")
    content = bytearray((trained / "checkpoint.safetensors").read_bytes())
    at = content.index(b'\\"width\\": 4') + len(b'\\"width\\": ')
    content[at : at + 1] = b"8"
    (tmp_path / "header.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="its checksum differs"):
        load_checkpoint(tmp_path / "header.safetensors")


def test_a_checkpoint_of_a_newer_version(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with safe_open(trained / "checkpoint.safetensors", framework="pt") as opened:
        header = unsealed(json.loads(opened.metadata()["header"]))
    for place in (header["model"], header["model"]["memory"]):
        place["attention"] = True
        save_file({}, path, {"format": "mnad-checkpoint/1", "header": json.dumps(sealed(header | {"tensors": None}))})
        with pytest.raises(CheckpointError, match="another version of mnad: it has attention, not known"):
            load_checkpoint(path)
        del place["attention"]


@pytest.mark.parametrize(("earlier", "now"), [("report", "narrow-up"), ("released", "wide-up")])
def test_the_decoder_by_its_earlier_names(earlier: str, now: str, trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with safe_open(trained / "checkpoint.safetensors", framework="pt") as opened:
        header = unsealed(json.loads(opened.metadata()["header"]))
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    header["model"]["decoder"] = earlier
    save_file(tensors, path, {"format": "mnad-checkpoint/1", "header": json.dumps(sealed(header))})
    assert load_checkpoint(path).config.decoder == now
