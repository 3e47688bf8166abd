"""What OpenVINO leaves in the process."""

from __future__ import annotations

import subprocess
import sys

SIGNALLED = """
import gc, os, signal, torch
from mnad.graphs.openvino_format import OpenVinoFormat
from mnad.graphs.recording import record

graph = record(torch.nn.Linear(3, 2), {"x": torch.zeros(2, 3)}, ("y",))
first, second = (OpenVinoFormat().compile(graph, threads=1) for _ in range(2))
del first, second
gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("asked to end"))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_signal_is_handled_after_models_have_gone() -> None:
    found = subprocess.run([sys.executable, "-c", SIGNALLED], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "asked to end\n")
