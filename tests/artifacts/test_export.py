"""Exported weights: small files, whole or refused, and a model that scores as before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from mnad.artifacts.checkpoint import epochs_done, export_checkpoint, load_checkpoint
from mnad.artifacts.export import LARGEST_FILE, keep_calibration, read_export, write_export
from mnad.artifacts.measurements import load_measurements
from mnad.models import Autoencoder, ModelConfig
from mnad.pipeline.calibrate import CalibrateConfig, calibrate
from mnad.pipeline.evaluate import EvaluateConfig, evaluate_run
from mnad.pipeline.score import ScoreConfig, score
from mnad.runtime.errors import CheckpointError, OutputError
from mnad.runtime.files import sealed, unsealed


@pytest.fixture
def exported(trained: Path, tmp_path: Path) -> Path:
    return export_checkpoint(tmp_path / "export", load_checkpoint(trained)).parent


def test_an_exported_model_scores_as_the_run_does(exported: Path, trained: Path, synthetic: Path) -> None:
    score(ScoreConfig(exported, synthetic, accelerator="cpu"))
    one, other = load_measurements(trained), load_measurements(exported)
    assert abs(one.psnr - other.psnr).max() < 0.05
    for name in ("task", "memory", "preset", "epoch", "step", "size", "update", "update_threshold", "labels"):
        assert other.protocol[name] == one.protocol[name]


def test_a_calibration_moves_with_its_export(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    exported = export_checkpoint(tmp_path / "export", load_checkpoint(held_out)).parent
    calibrate(CalibrateConfig(exported, synthetic, fps=25, accelerator="cpu"))
    score(ScoreConfig(exported, synthetic, accelerator="cpu"))
    moved = exported.rename(tmp_path / "elsewhere")
    assert evaluate_run(EvaluateConfig(moved, threshold="calibrated")).calibration is not None


def test_an_export_beside_its_run_is_not_taken_for_it(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    export_checkpoint(run, load_checkpoint(run))
    with pytest.raises(CheckpointError, match="a run's checkpoint and exported weights; name the file"):
        load_checkpoint(run)
    with pytest.raises(CheckpointError, match="a run's checkpoint and exported weights; name the file"):
        epochs_done(run)
    assert load_checkpoint(run / "checkpoint.safetensors").optimizer is not None


def test_only_kernels_are_rounded(exported: Path, trained: Path) -> None:
    whole, half = load_checkpoint(trained), load_checkpoint(exported)
    named = whole.training | {"data": "circles", "out": "prediction"}
    assert (half.config, half.training, half.epoch, half.step) == (whole.config, named, 2, 36)
    for name, weight in whole.weights.items():
        expected = weight.half().float() if weight.ndim == 4 else weight
        assert half.weights[name].dtype == weight.dtype
        assert torch.equal(half.weights[name], expected)


def test_the_published_network_fits_into_two_files(tmp_path: Path) -> None:
    write_export(tmp_path, Autoencoder(ModelConfig()).state_dict(), {})
    files = list(tmp_path.glob("*.safetensors"))
    assert len(files) == 2
    assert all(file.stat().st_size <= LARGEST_FILE for file in files)


def test_files_of_an_earlier_export_are_replaced(tmp_path: Path) -> None:
    weights = {f"w{i}": torch.rand(4, 4, 3, 3) for i in range(6)}
    write_export(tmp_path, weights, {}, largest_file=1700)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    write_export(tmp_path, {"w": torch.rand(2)}, {"n": 1})
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", "weights-1-of-1.safetensors"}
    tensors, usual, header = read_export(tmp_path)
    assert (tensors.keys(), usual, header) == ({"w"}, {}, {"n": 1})


def test_an_export_of_an_earlier_version_is_replaced_as_well(tmp_path: Path) -> None:
    """Its manifest does not say which weights it names."""
    manifest = write_export(tmp_path, {"w": torch.rand(2)}, {"n": 1})
    earlier = {
        name: value for name, value in json.loads(manifest.read_text()).items() if name not in ("weights", "sha256")
    }
    manifest.write_text(json.dumps(earlier))
    write_export(tmp_path, {"w": torch.rand(2)}, {"n": 2})
    assert read_export(tmp_path)[2] == {"n": 2}


def test_a_calibration_goes_with_its_weights(tmp_path: Path) -> None:
    weights, usual = {"w": torch.rand(2)}, {"error": torch.rand(3, 3)}
    write_export(tmp_path, weights, {"n": 1})
    keep_calibration(tmp_path, {"fps": 25}, usual)
    write_export(tmp_path, weights, {"n": 2})
    _, kept, header = read_export(tmp_path)
    assert torch.equal(kept["error"], usual["error"])
    assert (header["n"], header["calibration"]) == (2, {"fps": 25})
    (file,) = tmp_path.glob("usual-*.safetensors")
    keep_calibration(tmp_path, {"fps": 10}, {"error": torch.rand(3, 3)})
    assert not file.exists()
    (file,) = tmp_path.glob("usual-*.safetensors")
    file.write_bytes(b"other")
    with pytest.raises(CheckpointError, match="safetensors is not the file that"):
        read_export(tmp_path)
    write_export(tmp_path, {"w": torch.rand(2)}, {"n": 3})
    assert read_export(tmp_path)[1:] == ({}, {"n": 3})
    assert not list(tmp_path.glob("usual-*"))


def test_a_weight_that_half_precision_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"the weight w does not fit into float16: its largest value is 70000"):
        write_export(tmp_path, {"w": torch.full((1, 1, 3, 3), 7e4)}, {})


def test_a_file_that_is_missing_or_another(exported: Path) -> None:
    (part,) = exported.glob("*.safetensors")
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not the file that"):
        load_checkpoint(exported)
    part.unlink()
    with pytest.raises(CheckpointError, match="is missing; .* needs all its files beside it"):
        load_checkpoint(exported)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "other/1", "header": {}, "parts": []}'])
def test_what_is_no_manifest(content: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match="is not a manifest|is of format 'other/1'"):
        load_checkpoint(tmp_path)


def test_a_manifest_names_files_beside_it_only(exported: Path) -> None:
    manifest = unsealed(json.loads((exported / "manifest.json").read_text()))
    manifest["parts"][0]["file"] = f"../{exported.name}/{manifest['parts'][0]['file']}"
    (exported / "manifest.json").write_text(json.dumps(sealed(manifest)))
    assert load_checkpoint(exported).epoch == 2
    manifest["parts"][0]["file"] = "../elsewhere.safetensors"
    (exported / "manifest.json").write_text(json.dumps(sealed(manifest)))
    with pytest.raises(CheckpointError, match="elsewhere.safetensors is missing"):
        load_checkpoint(exported)


def test_an_export_names_the_model_that_it_is(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["weights"] == load_checkpoint(exported).describe()["weights"]
