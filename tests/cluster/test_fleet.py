"""The fleet of workers by itself: deaths, faults, machines that join."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import pytest
import torch
from mnad.cluster.connection import connected
from mnad.cluster.fleet import About, DeadlyTaskError, Done, Fleet
from mnad.runtime.errors import ConfigError, DataError, OutputError
from mnad.runtime.version import __version__

from tests.cluster.nodes import another_node


class Sleeper:
    """Does what a task says, and tells on which node."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def about(self) -> About:
        return About(__version__, torch.__version__, "here", "nothing")

    def run(self, task: str) -> str:
        import ray

        time.sleep(self.seconds)
        if "kill" in task:
            os.kill(os.getpid(), signal.SIGKILL)
        if "data" in task:
            raise DataError("not whole")
        if "bug" in task:
            raise TypeError("no number")
        if "disk" in task:
            raise OutputError("cannot write a: No space left on device")
        return str(ray.get_runtime_context().get_node_id())


def run(cluster: Any, tasks: list[str], seconds: float = 0.05, meanwhile: Any = None) -> dict[str, Done[str, str]]:
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]
    with connected(cluster.address) as module:
        fleet: Fleet[str, str] = Fleet(module, Sleeper, (seconds,), accelerator="cpu", in_flight=2)
        found = {}
        for done in fleet.run(tasks):
            assert done.task not in found
            found[done.task] = done
            if meanwhile is not None:
                meanwhile(len(found))
    return found


def test_a_task_at_which_workers_die_is_given_up_and_the_others_are_done(
    cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(cluster, [*(f"{number}" for number in range(8)), "kill", *(f"{number}" for number in range(8, 20))])
    assert len(found) == 21
    assert [name for name, done in found.items() if done.error is not None] == ["kill"]
    assert isinstance(found["kill"].error, DeadlyTaskError)
    assert found["kill"].fault.startswith("3 workers died at it, the last one on here: ")
    assert capsys.readouterr().out.count("a worker on here died") == 3


def test_signals_are_handled_as_before(cluster: Any) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run(cluster, ["1"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_faults_of_tasks_are_their_own(cluster: Any) -> None:
    found = run(cluster, ["data", "bug", "1"])
    assert isinstance(found["data"].error, DataError)
    assert (found["data"].fault, found["bug"].fault) == ("not whole", "TypeError: no number")
    assert found["1"].error is None


def test_no_machine_is_left(cluster: Any) -> None:
    """Where it is none of theirs that a task cannot be done, but the disk that all write to."""
    with pytest.raises(OutputError, match="no machine is left that can go on: here: cannot write a: No space left"):
        run(cluster, [f"disk {number}" for number in range(9)])


def test_a_machine_that_joins_gets_its_share(cluster: Any) -> None:
    added: list[Any] = []

    def join(count: int) -> None:
        if count == 4:
            added.append(another_node(cluster))
            added[0].__enter__()

    try:
        found = run(cluster, [f"{number}" for number in range(120)], 0.25, join)
    finally:
        added[0].__exit__(None, None, None)
    assert len({done.value for done in found.values()}) == 3


def test_a_cluster_without_gpus(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnad.cluster.fleet.SECONDS_WITHOUT_WORKERS", 1.0)
    with (
        connected(cluster.address) as module,
        pytest.raises(ConfigError, match="the cluster has had no GPU for 1 s"),
    ):
        list(Fleet(module, Sleeper, (0,), accelerator="cuda", in_flight=1).run(["1"]))
