"""Workers on all devices of a Ray cluster, which take tasks in turn until each is done once.

A worker is a Ray actor that holds what its tasks share, such as a model. What a worker was at when its process or its
machine died is given to another one. A machine that cannot do its part, as its disk is full, gets no more tasks, and
one that joins gets its share.
"""

from __future__ import annotations

import socket
import time
from collections import Counter, deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch

from mnad.runtime.errors import ConfigError, MnadError, OutputError
from mnad.runtime.progress import print_line
from mnad.runtime.provenance import device_name
from mnad.runtime.version import __version__

MOST_DEATHS = 3  # of workers at one task, or of one device in a row
MOST_FAULTS = 2  # of one device in a row that are not those of its tasks
SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_WITHOUT_WORKERS = 60.0

Task = TypeVar("Task", bound=Hashable)
Value = TypeVar("Value")


class DeadlyTaskError(MnadError):
    """A task at which one worker after the other died."""


class About(NamedTuple):
    """What a worker says of itself: its versions, its machine's name, and its device for people."""

    version: str
    torch: str
    host: str
    device: str


def about_here(device: torch.device) -> About:
    """Returns what a worker of this process says, which computes on a device."""
    return About(__version__, torch.__version__, socket.gethostname(), device_name(device))


class Worker(Protocol):
    """What runs on a device of the cluster; its class is made a Ray actor."""

    def about(self) -> About:
        """Says of which version it is, and where."""
        ...

    def run(self, task: Any) -> Any:
        """Does a task. A MnadError is a fault of the task; an OutputError one of the machine."""
        ...


@dataclass(frozen=True)
class Done(Generic[Task, Value]):
    """A task that has ended: with a value, or with an error."""

    task: Task
    value: Value | None
    error: Exception | None

    @property
    def fault(self) -> str:
        """What went wrong, in words."""
        return str(self.error) if isinstance(self.error, MnadError) else f"{type(self.error).__name__}: {self.error}"


@dataclass
class Device:
    """A place for a worker.

    Attributes:
        node: The node's identity in Ray.
        number: Of the device, within the node.
        cpus: Of the node's processors, those that are for this device.
        gpus: 1 for a GPU, 0 for the node's processors.
        deaths: Of workers there that did nothing in between.
        faults: Of the machine there, in a row.
    """

    node: str
    number: int
    cpus: float
    gpus: int
    deaths: int = 0
    faults: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from others."""
        return self.node, self.number


@dataclass
class _Hired:
    """A worker at work."""

    device: Device
    actor: Any
    arrival: Any
    about: About | None = None
    running: dict[Any, Any] = field(default_factory=dict)


class Fleet(Generic[Task, Value]):
    """Workers on the devices of a cluster.

    Args:
        ray: Ray's module, connected.
        worker: The class of the workers.
        arguments: What each is made with; large ones are sent to each machine once.
        accelerator: cpu, cuda, or auto for GPUs where the cluster has some. The processors of a node are one device.
        in_flight: Tasks that a worker has at a time, so that it reads one while it computes another; None for as many
            as its device has processors.
    """

    def __init__(
        self,
        ray: ModuleType,
        worker: type[Worker],
        arguments: Sequence[object],
        *,
        accelerator: str,
        in_flight: int | None,
    ) -> None:
        self.ray, self.in_flight = ray, in_flight
        self.gpus = {"cpu": False, "auto": None}.get(accelerator, True)
        self.actor = ray.remote(worker)
        self.arguments = [ray.put(argument) for argument in arguments]
        self.hired: dict[tuple[str, int], _Hired] = {}
        self.given_up: dict[tuple[str, int], str] = {}
        self.known: dict[tuple[str, int], Device] = {}
        self.met: dict[str, About] = {}
        self.waiting: deque[Task] = deque()
        self.deaths: Counter[Task] = Counter()
        self.looked = -SECONDS_BETWEEN_LOOKS
        self.last_worked = time.monotonic()
        self.told = False

    def run(self, tasks: Sequence[Task]) -> Iterator[Done[Task, Value]]:
        """Has all tasks done, and yields each when it has ended; others may be added meanwhile.

        Raises:
            ConfigError: If a machine has another version of mnad, or no worker can be had.
            OutputError: If no machine can do its part.
        """
        self.waiting.extend(tasks)
        try:
            while self.waiting or any(worker.running for worker in self.hired.values()):
                self._look_for_devices()
                self._assign()
                refs = [ref for worker in self.hired.values() for ref in (worker.arrival, *worker.running) if ref]
                if not refs:
                    self._wait_for_workers()
                    continue
                ended = self.ray.wait(refs, num_returns=len(refs), timeout=0)[0]
                for ref in ended or self.ray.wait(refs, timeout=1)[0]:
                    yield from self._ended(ref)
        finally:
            for worker in self.hired.values():
                self.ray.kill(worker.actor)
            self.hired.clear()

    def add(self, task: Task) -> None:
        """Adds a task to those that wait."""
        self.waiting.append(task)

    def _look_for_devices(self) -> None:
        """Hires a worker for each device that has none."""
        if time.monotonic() - self.looked < SECONDS_BETWEEN_LOOKS:
            return
        self.looked = time.monotonic()
        nodes = [node for node in self.ray.nodes() if node["Alive"]]
        if self.gpus is None and nodes:
            self.gpus = any(node["Resources"].get("GPU") for node in nodes)
        for device in (device for node in nodes for device in _devices(node, gpus=bool(self.gpus))):
            known = self.known.setdefault(device.key, device)
            if device.key not in self.hired and device.key not in self.given_up:
                self._hire(known)
        if not self.told and not self.met and self.looked - self.last_worked > SECONDS_WITHOUT_WORKERS:
            self.told = True
            print_line(
                "no device of the cluster has begun; if others have taken them, this waits until one is free as a whole"
            )

    def _hire(self, device: Device) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        actor = self.actor.options(
            num_cpus=device.cpus,
            num_gpus=device.gpus,
            max_restarts=0,
            max_concurrency=self._most(device),
            scheduling_strategy=NodeAffinitySchedulingStrategy(device.node, soft=False),
        ).remote(*self.arguments)
        self.hired[device.key] = _Hired(device, actor, actor.about.remote())

    def _assign(self) -> None:
        """Gives tasks to workers, to each first one, then the second; one at which a worker died is given alone."""
        here = [worker for worker in self.hired.values() if worker.about is not None]
        for busy in range(max((self._most(worker.device) for worker in here), default=0)):
            for worker in (each for each in here if len(each.running) == busy < self._most(each.device)):
                if not self.waiting:
                    return
                if busy == 0 or not any(self.deaths[task] for task in (*worker.running.values(), self.waiting[0])):
                    task = self.waiting.popleft()
                    worker.running[worker.actor.run.remote(task)] = task

    def _most(self, device: Device) -> int:
        """Returns how many tasks a worker has at a time."""
        return self.in_flight or max(1, int(device.cpus))

    def _wait_for_workers(self) -> None:
        if self.given_up and len(self.given_up) == len(self.known):
            raise OutputError(f"no machine is left that can go on: {'; '.join(dict.fromkeys(self.given_up.values()))}")
        if time.monotonic() - self.last_worked > SECONDS_WITHOUT_WORKERS:
            raise ConfigError(
                f"the cluster has had no {'GPU' if self.gpus else 'machine'} for {SECONDS_WITHOUT_WORKERS:.0f} s; what "
                "was done is kept, and the same command goes on when it has"
            )
        time.sleep(0.2)

    def _ended(self, ref: Any) -> Iterator[Done[Task, Value]]:
        """Takes what a worker has sent."""
        worker = next((each for each in self.hired.values() if ref == each.arrival or ref in each.running), None)
        if worker is None:  # it died, and its tasks are with others
            return
        self.last_worked = time.monotonic()
        try:
            value = self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            if ref == worker.arrival:
                raise _unusable(worker, cause) from None
            yield from self._faulty(worker, worker.running.pop(ref), cause)
        except self.ray.exceptions.RayError as error:
            yield from self._died(worker, error)
        else:
            worker.device.deaths = worker.device.faults = 0
            if ref == worker.arrival:
                self._greet(worker, value)
            else:
                yield Done(worker.running.pop(ref), value, None)

    def _greet(self, worker: _Hired, about: About) -> None:
        worker.about, worker.arrival = about, None
        if about.version != __version__:
            raise ConfigError(
                f"{about.host} has mnad {about.version}, and this machine {__version__}; install the same on all"
            )
        other = next((met for met in self.met.values() if met.torch != about.torch), None)
        if other is not None and about.host not in self.met:
            print_line(
                f"{about.host} has torch {about.torch} and {other.host} {other.torch}: the same frames may differ in "
                "the last digits"
            )
        self.met[about.host] = about

    def _faulty(self, worker: _Hired, task: Task, error: Exception) -> Iterator[Done[Task, Value]]:
        """Books a fault: of the task, or of the machine."""
        assert worker.about is not None
        if not isinstance(error, OutputError):
            yield Done(task, None, error)
            return
        self.waiting.appendleft(task)
        worker.device.faults += 1
        if worker.device.faults >= MOST_FAULTS:
            self._give_up(worker, f"{worker.about.host}: {error}")

    def _died(self, worker: _Hired, error: Exception) -> Iterator[Done[Task, Value]]:
        """Gives what a dead worker was at to others, but for what has killed several."""
        name = worker.about.host if worker.about else f"node {worker.device.node[:8]}"
        lines = str(error).strip().splitlines()
        if getattr(error, "actor_init_failed", False):  # it could not even be made there
            raise _unusable(worker, ImportError(lines[-1]))
        reason = lines[0]
        worker.device.deaths += 1
        del self.hired[worker.device.key]
        self.ray.kill(worker.actor)  # it may be out of reach only
        for task in worker.running.values():
            self.deaths[task] += 1
            if self.deaths[task] < MOST_DEATHS:
                self.waiting.appendleft(task)
            else:
                words = f"{MOST_DEATHS} workers died at it, the last one on {name}: {reason}"
                yield Done(task, None, DeadlyTaskError(words))
        if worker.running:
            print_line(f"a worker on {name} died ({reason}); {len(worker.running)} tasks go to others")
        if worker.device.deaths >= MOST_DEATHS:
            self.given_up[worker.device.key] = f"{name}: {reason}"

    def _give_up(self, worker: _Hired, reason: str) -> None:
        self.waiting.extendleft(worker.running.values())
        print_line(f"no more tasks for {reason}")
        self.given_up[worker.device.key] = reason
        del self.hired[worker.device.key]
        self.ray.kill(worker.actor)


def _devices(node: dict[str, Any], *, gpus: bool) -> list[Device]:
    """Returns the devices of a node: its GPUs, each with a part of its processors, or these as one device."""
    cpus, count = float(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0))
    if gpus:
        return [Device(node["NodeID"], number, cpus // count, 1) for number in range(count)]
    return [Device(node["NodeID"], 0, cpus, 0)] if cpus else []


def _unusable(worker: _Hired, error: Exception) -> MnadError:
    place = f"no worker can begin on node {worker.device.node[:8]}"
    if isinstance(error, MnadError):
        return type(error)(f"{place}: {error}")
    return ConfigError(f"{place}: {error!r}; install the same mnad on all machines of the cluster")
