"""The processes of a run: started here, or by torchrun on one or several nodes, which are to fit each other."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from torch.distributed.rendezvous import rendezvous

from mnad.runtime.devices import choose_device
from mnad.runtime.errors import ConfigError, MnadError
from mnad.runtime.version import __version__
from mnad.training.config import TrainConfig, training_options

# How long a process waits for one that says nothing; of one that ends it hears at once.
SILENCE = timedelta(minutes=10)
JOINING = timedelta(minutes=5)
# What may differ from node to node: places, whose content is compared, and how fast frames are read.
OWN_OF_A_NODE = {"data", "out", "cache", "workers", "device_cache"}


def launch(config: TrainConfig) -> Fabric:
    """Starts the processes of a run, or joins those that torchrun has started.

    Raises:
        ConfigError: If there is no such device, or the nodes do not fit each other; on all of them.
        MnadError: If a node does not come.
    """
    if dist.is_torchelastic_launched():
        _check_nodes(config)
    elif config.num_nodes > 1:
        raise ConfigError(
            f"num_nodes {config.num_nodes} needs torchrun on each node, which tells the processes of each other: "
            f"torchrun --nnodes {config.num_nodes} ... -m mnad.cli train ..."
        )
    _device_type(config)
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy=DDPStrategy(timeout=SILENCE) if config.devices * config.num_nodes > 1 else "auto",
        precision=config.precision,
    )
    fabric.launch()
    return fabric


def node_name() -> str:
    """Returns the name of this node for people: torchrun's number, and the host."""
    return f"node {os.environ.get('GROUP_RANK', 0)} ({socket.gethostname()})"


@dataclass(frozen=True)
class Greeting:
    """What a process of torchrun tells the others before they work together.

    Attributes:
        node: Its node's name.
        fault: What is wrong on it alone; None if nothing is.
        versions: Of mnad and torch.
        device: The kind of its device, empty with a fault.
        options: Those of the run that must be the same on all nodes.
    """

    node: str
    fault: str | None
    versions: str
    device: str
    options: Mapping[str, Any]


def _check_nodes(config: TrainConfig) -> None:
    """Makes sure that all nodes were told the same, before they form a group that would wait for each other."""
    # torchrun's own store serves before there is a group, and also where the devices would make none.
    try:
        store, rank, count = next(rendezvous("env://", timeout=JOINING))
        store.set(f"mnad/greeting/{rank}", json.dumps(asdict(_greeting(config))))
        greetings = [Greeting(**json.loads(store.get(f"mnad/greeting/{other}"))) for other in range(count)]
    except dist.DistError as error:
        raise MnadError(
            f"{node_name()} waits in vain for the other processes of the run ({str(error).splitlines()[0]}); the "
            "output of the other nodes says why"
        ) from error
    store.set(f"mnad/heard/{rank}", "")
    with suppress(dist.DistError):  # whoever has the store stays until all have heard, and may be gone then
        store.wait([f"mnad/heard/{other}" for other in range(count)], timedelta(seconds=10))
    if (fault := misfit(greetings)) is not None:
        raise ConfigError(fault)


def misfit(greetings: list[Greeting]) -> str | None:
    """Returns what keeps the processes of a job from working together, in words; None if nothing does."""
    for each in greetings:
        if each.fault is not None:
            return f"{each.node}: {each.fault}"
    first = greetings[0]
    for each in greetings:
        for what, ours, theirs in (("mnad", first.versions, each.versions), ("devices", first.device, each.device)):
            if theirs != ours:
                return f"the nodes do not fit each other: {what} is {ours} on {first.node} and {theirs} on {each.node}"
        for name, ours in first.options.items():
            if each.options[name] != ours:
                return (
                    f"the nodes were not given the same: {name} is {ours!r} on {first.node} and {each.options[name]!r} "
                    f"on {each.node}; start the same command on all"
                )
    return None


def _greeting(config: TrainConfig) -> Greeting:
    fault, device = None, ""
    try:
        _check_counts(config)
        device = _device_type(config)
    except ConfigError as error:
        fault = str(error)
    options = {name: value for name, value in training_options(config).items() if name not in OWN_OF_A_NODE}
    return Greeting(node_name(), fault, f"{__version__} with torch {torch.__version__}", device, options)


def _check_counts(config: TrainConfig) -> None:
    nodes, devices, processes = (int(os.environ[f"{name}WORLD_SIZE"]) for name in ("GROUP_", "LOCAL_", ""))
    if processes != nodes * devices:
        raise ConfigError(
            f"torchrun started {devices} processes here and {processes} on {nodes} nodes; --nproc-per-node must be the "
            "same on each"
        )
    if (nodes, devices) != (config.num_nodes, config.devices):
        raise ConfigError(
            f"torchrun started {devices} processes on each of {nodes} nodes, but num_nodes is {config.num_nodes} and "
            f"devices is {config.devices}; give --num-nodes {nodes} --devices {devices}, as --nnodes and "
            "--nproc-per-node"
        )


def _device_type(config: TrainConfig) -> str:
    """Returns the kind of device, and makes sure that there are as many as are asked for."""
    kind = choose_device(config.accelerator).type
    if kind == "cuda" and config.devices > torch.cuda.device_count():
        raise ConfigError(f"devices is {config.devices}, and there are {torch.cuda.device_count()} GPUs")
    return kind
