"""How fast each runtime executes a small and a full-size model, and how far its P lies from PyTorch's.

    python bench/runtimes.py --out bench/results/runtimes-NAME.json

The same as ``mnad bench RUN``, for networks that were drawn and not trained: speed does not depend on the weights.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch
from mnad.measuring.timing import time_runtimes
from mnad.models import Autoencoder, ModelConfig
from mnad.runtime.files import atomic_write
from mnad.runtime.provenance import device_name, source_commit

SIZES = {"small": (128, 16), "full": (256, 64)}
BATCHES = (1, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each runtime and size of batch")
    options = parser.parse_args()
    torch.manual_seed(0)
    rows = []
    for name, (size, width) in SIZES.items():
        timings = time_runtimes(Autoencoder(ModelConfig(width=width)), size, BATCHES, options.seconds)
        rows += [{"model": f"{name}: {size} x {size}, width {width}", **asdict(timing)} for timing in timings]
    content = {
        "command": f"python bench/runtimes.py --seconds {options.seconds:g} --out {options.out}",
        "commit": source_commit(),
        "date": datetime.now(timezone.utc).isoformat(),
        "device": device_name(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "runtimes": {name: version(name) for name in ("openvino", "onnxruntime")},
        "rows": rows,
    }
    with atomic_write(options.out) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
