"""A training whose BatchNorms stand still, as one of several ranks or alone; it can be made to meet with an event.

Running statistics of BatchNorm are each rank's own, so a comparison with one large batch freezes them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from mnad.runtime.errors import Interrupted
from mnad.training import TrainConfig, loop, train

STEPS = 12  # of an epoch, of two, with six windows a step
KILLED_AT = 20


def main(data: str, out: str, nodes: str, devices: str, batch: str, rate: str, event: str = "") -> None:
    """Trains; ``event`` is "resume", "stop", "diverge", "kill" or "terminate"."""
    setup, count = loop._network, loop.TrainingState.count

    def frozen(config: Any, fabric: Any, state: Any) -> Any:
        network = setup(config, fabric, state)
        for module in state.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        return network

    def with_event(state: Any, losses: Any) -> None:
        count(state, losses)
        second = "1" in (os.environ.get("RANK"), os.environ.get("LOCAL_RANK"))
        if event == "diverge" and second and state.step == 2 * STEPS:
            state.first_bad_step.fill_(state.step)
        if event == "kill" and second and state.step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        if event == "terminate":
            time.sleep(0.25)
            if second and state.step == STEPS + 1:  # as SLURM does, to all processes
                os.kill(os.getppid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)

    loop._network, loop.TrainingState.count = frozen, with_event  # type: ignore[method-assign]
    if event == "stop":
        loop.StopRequests.agreed = lambda self, step: step == STEPS + 5  # type: ignore[method-assign]
    config = TrainConfig(
        Path(data), Path(out), size=32, width=4, epochs=2, learning_rate=float(rate), accelerator="cpu",
        devices=int(devices), num_nodes=int(nodes), batch_size=int(batch), resume=event in ("resume", "kill"),
    )  # fmt: skip
    try:
        train(config)
    except Interrupted as stop:
        sys.exit(0 if event == "stop" else str(stop))


if __name__ == "__main__":
    main(*sys.argv[1:])
