"""What is said of a device before anything runs on it."""

from __future__ import annotations

import warnings

import pytest
import torch
from mnad.runtime.devices import choose_device, has_bfloat16, warn_of_slow_precision
from mnad.runtime.errors import ConfigError


@pytest.mark.parametrize("precision", ["bf16", "bf16-mixed", "16-mixed"])
def test_a_precision_that_a_cpu_computes_in_software(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, "avx512_bf16": False})
    with pytest.warns(UserWarning, match=f"no bfloat16 instructions: precision {precision} .* slower than 32-true"):
        warn_of_slow_precision(precision, torch.device("cpu"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_slow_precision("32-true", torch.device("cpu"))


def test_a_precision_that_a_gpu_computes_in_software(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.warns(UserWarning, match="this GPU has no bfloat16 instructions"):
        warn_of_slow_precision("bf16-mixed", torch.device("cuda"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_slow_precision("16-mixed", torch.device("cuda"))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        warn_of_slow_precision("bf16-mixed", torch.device("cuda"))


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16", "bf16"])
def test_instructions_of_several_kinds(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {name: True})
    assert has_bfloat16(torch.device("cpu"))


@pytest.mark.parametrize(("accelerator", "words"), [("cuda:99", "cuda:99 is no GPU"), ("meta", "must be cpu,")])
def test_a_device_that_is_not_there(accelerator: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"accelerator {words}"):
        choose_device(accelerator)
