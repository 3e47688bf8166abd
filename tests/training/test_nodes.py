"""Two nodes (two launchers of torchrun on this machine, gloo) do what one process does, and end together."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.data import PrepareConfig, prepare
from mnad.runtime import files
from mnad.runtime.errors import ConfigError, DataError, MnadError, OutputError
from mnad.training import TrainConfig, launch, sharing, train
from mnad.training.launch import Greeting, misfit
from mnad.training.ranks import Ranks, lost_processes
from mnad.training.sharing import check_places

from tests.training.frozen import KILLED_AT, STEPS
from tests.training.nodes import ENVIRONMENT, TORCHRUN, ended, free_port, rendezvous, started
from tests.training.test_distributed import PROGRAM, run
from tests.training.test_training import curves

METRICS = ("loss", "pixel", "compactness", "separateness", "usage_perplexity", "positional_share")
OPTIONS = ("--size", 32, "--width", 4, "--accelerator", "cpu", "--num-nodes", 2, "--batch-size", 3)


def frozen(synthetic: Path, out: Path, event: str = "") -> list[object]:
    """The command of each of two nodes with one process."""
    return [*TORCHRUN, *rendezvous(), PROGRAM, synthetic, out, 2, 1, 3, 5e-4, event]


def trainings(data: Path, out: Path) -> list[list[object]]:
    """The commands of two nodes, to which a test adds options apart."""
    call = [*TORCHRUN, *rendezvous(), "-m", "mnad.cli", "train", "--data", data, "--out", out]
    return [[*call, *OPTIONS] for _ in range(2)]


def refused(*commands: list[object], **environment: str) -> list[str]:
    with started(*commands, **environment) as nodes:
        printed = ended(nodes)
        assert all(node.process.returncode for node in nodes)
    return ["\n".join(line for line in text.splitlines() if line.startswith("mnad train:")) for text in printed]


@pytest.fixture(scope="module")
def of_two_nodes(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two nodes that nothing has stopped."""
    out = tmp_path_factory.mktemp("nodes") / "two"
    command = frozen(synthetic, out)
    with started(command, command) as nodes:
        printed = ended(nodes)
    assert [node.process.returncode for node in nodes] == [0, 0], printed
    return out


def test_two_nodes_equal_one_process(of_two_nodes: Path, synthetic: Path, tmp_path: Path) -> None:
    run(*TORCHRUN[:1], PROGRAM, synthetic, tmp_path / "one", 1, 1, 6, 5e-4)
    same_run(of_two_nodes, tmp_path / "one", atol=1e-5, rel=1e-3)


def same_run(ours: Path, theirs: Path, atol: float, rel: float) -> None:
    one, two = load_checkpoint(ours), load_checkpoint(theirs)
    assert (one.epoch, one.step) == (two.epoch, two.step) == (2, 2 * STEPS)
    torch.testing.assert_close(one.weights["memory.items"], two.weights["memory.items"], rtol=0, atol=atol)
    rows = [curves(ours), curves(theirs)]
    assert [len(each) for each in rows] == [2, 2]
    for own, other in zip(*rows, strict=True):
        for name in METRICS:
            assert own[name] == pytest.approx(other[name], rel=rel), name


def test_what_ends_on_one_node_ends_all_and_the_run_goes_on(
    of_two_nodes: Path, synthetic: Path, tmp_path: Path
) -> None:
    """While steps are long SIGTERM comes to one node, twice as from SLURM; then one of its processes is killed."""
    printed = {}
    for event in ("terminate", "kill", "resume"):
        command = frozen(synthetic, tmp_path / "run", event)
        with started(command, command) as nodes:
            printed[event] = "".join(ended(nodes))
            assert all(node.process.returncode for node in nodes) == (event != "resume")
        if event != "resume":
            stored = load_checkpoint(tmp_path / "run")
            assert STEPS < stored.step < KILLED_AT - 1  # within about a second
            assert (stored.epoch, stored.batch) == (1, stored.step - STEPS)
    assert f"stopped after step {stored.step}, in epoch 2" in printed["terminate"]
    assert "another process of the run has ended or is out of reach" in printed["kill"]
    for event in ("kill", "resume"):
        assert printed[event].count(f"going on after epoch 1, batch {stored.batch}") == 1  # by the first process alone
    same_run(tmp_path / "run", of_two_nodes, atol=1e-6, rel=1e-5)


def test_a_node_that_was_told_otherwise_ends_all(synthetic: Path, tmp_path: Path) -> None:
    first, second = trainings(synthetic, tmp_path / "run")
    for message in refused(first, [*second, "--batch-size", 4]):
        assert "were not given the same: batch_size is 3 on node 0" in message
        assert "and 4 on node 1" in message
    assert not (tmp_path / "run").exists()


def test_a_node_with_a_cache_of_its_own_is_refused_by_name(synthetic: Path, tmp_path: Path) -> None:
    first, second = trainings(synthetic, tmp_path / "run")
    own = tmp_path / "of node 1"
    for message in refused([*first, "--cache", tmp_path / "of node 0"], [*second, "--cache", own]):
        assert f"node 1 ({socket.gethostname()}) does not see the clip store" in message
        assert f"there is no {own}" in message
        assert "give --cache a folder that all nodes share" in message
    assert not own.exists()  # no copy was made


def test_a_node_with_other_frames_is_refused(synthetic: Path, tmp_path: Path) -> None:
    shutil.copytree(synthetic, tmp_path / "other")
    shutil.rmtree(next((tmp_path / "other" / "training" / "frames").iterdir()))
    made, same, other = (
        prepare(PrepareConfig(data, tmp_path / f"{name}.store", 32))
        for name, data in (("made", synthetic), ("same", synthetic), ("other", tmp_path / "other"))
    )
    config = TrainConfig(same.path, tmp_path / "run")
    assert sharing._same_store(config, made, "node 1 (b)").path == same.path
    with pytest.raises(
        DataError, match=r"node 1 \(b\) sees other frames at .*other.store, 40 of size 32 .*, 80 of size"
    ):
        sharing._same_store(replace(config, data=other.path), made, "node 1 (b)")


def talk(rank: int, folder: Path, synthetic: Path, port: int) -> None:
    """What two processes say to each other, whose group waits for 2 seconds only."""
    os.environ |= ENVIRONMENT | {"GROUP_RANK": str(rank)}
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2, timeout=timedelta(seconds=2)
    )
    ranks, told = Ranks(rank, 2), []

    def fail() -> None:
        raise DataError(f"of rank {rank}")

    assert ranks._group is not None
    assert ranks._group._get_backend(torch.device("cpu")).options._timeout > timedelta(days=30)
    told.append(ranks.by_first(lambda: (time.sleep(3), rank)[1]))
    for work in (lambda: ranks.by_first(fail), lambda: ranks.by_all(fail if rank == 1 else list)):
        try:
            work()
        except DataError as error:
            told.append(str(error))
    files.SEEN_WITHIN = 0.5
    try:
        check_places(TrainConfig(synthetic, folder / str(rank), accelerator="cpu"), ranks)
    except OutputError as error:
        told.append(str(error))
    (folder / f"told-{rank}.json").write_text(json.dumps(told))
    if rank == 1:
        time.sleep(3)  # silent
    else:
        with (
            pytest.raises(MnadError, match="another process of the run has ended or is out of reach"),
            lost_processes(),
        ):
            dist.all_reduce(torch.ones(1))
    dist.destroy_process_group()


def test_processes_wait_as_long_as_one_works_and_share_its_fault(synthetic: Path, tmp_path: Path) -> None:
    mp.spawn(talk, args=(tmp_path, synthetic, free_port()), nprocs=2)
    told = [json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in (0, 1)]
    assert told[0] == told[1]
    assert told[0][:3] == [0, "of rank 0", "of rank 1"]
    assert f"node 1 ({socket.gethostname()}) does not see the run's folder" in told[0][3]
    assert list((tmp_path / "0").iterdir()) == []
    assert not (tmp_path / "1").exists()


GREETING = Greeting("node 0 (a)", None, "1.0 with torch 2.13", "cpu", {"seed": 0, "width": 4})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"fault": "no GPU"}, "node 1 (b): no GPU"),
        (
            {"versions": "1.1 with torch 2.13"},
            "mnad is 1.0 with torch 2.13 on node 0 (a) and 1.1 with torch 2.13 on no",
        ),
        ({"device": "cuda"}, "devices is cpu on node 0 (a) and cuda on node 1 (b)"),
        ({"options": {"seed": 1, "width": 4}}, "seed is 0 on node 0 (a) and 1 on node 1 (b); start the same command"),
    ],
)
def test_what_keeps_nodes_from_working_together_is_named(change: dict[str, Any], message: str | None) -> None:
    found = misfit([GREETING, replace(GREETING, node="node 1 (b)", **change)])
    assert found is None if message is None else message in str(found)


@pytest.mark.parametrize(
    ("started", "options", "message"),
    [
        ((2, 1, 2), {}, "give --num-nodes 2 --devices 1"),
        ((2, 4, 8), {"num_nodes": 2, "devices": 2}, "give --num-nodes 2 --devices 4"),
        ((2, 1, 3), {"num_nodes": 2}, "--nproc-per-node must be the same on each"),
        (None, {"num_nodes": 2}, "num_nodes 2 needs torchrun on each node"),
    ],
)
def test_options_must_be_those_of_torchrun(
    started: tuple[int, ...] | None, options: dict[str, int], message: str, synthetic: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if started is not None:  # as one process of its own, which is rank 0 and waits for no other
        for name, value in zip(("GROUP_WORLD_SIZE", "LOCAL_WORLD_SIZE", "WORLD_SIZE"), started, strict=True):
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr(launch, "rendezvous", lambda *_, **__: iter([(dist.HashStore(), 0, 1)]))
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    with pytest.raises(ConfigError, match=message):
        train(TrainConfig(synthetic, tmp_path / "run", accelerator="cpu", **options))
    assert not (tmp_path / "run").exists()
