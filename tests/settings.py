"""A pytest plugin: settings of all tests that need no more than torch."""

from __future__ import annotations

import os

import pytest
import torch

CUDA_REQUIRED = os.environ.get("MNAD_REQUIRE_CUDA") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available() or CUDA_REQUIRED:
        return
    for item in items:
        if "cuda" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no CUDA device; MNAD_REQUIRE_CUDA=1 makes this a failure"))


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
