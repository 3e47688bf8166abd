"""What `make cuda` asks of the compiled kernels: a table of rules for each kind of kernel, told by its name.

A rule looks at a kernel and at what the plan counts on, and says what it found amiss.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sass import NARROW, SPILLS, WIDE_LOADS, WIDE_STORES, Body, Loop


@dataclass(frozen=True)
class WideAccess:
    """How a kernel accesses global memory that is to move whole maps 16 bytes at a time.

    Attributes:
        kernel: Pattern of its name.
        loads, stores: The fewest wide accesses.
        in_flight: The fewest wide loads that are issued before the first is used, in a loop that also stores so.
        narrow_inside: The most narrow accesses of an innermost loop among those with wide accesses.
        narrow_around: The most of a loop around such a one, both together.
        not_on: Architectures that the plan never gives such a kernel.
    """

    kernel: str
    loads: int
    stores: int
    in_flight: int
    narrow_inside: int
    narrow_around: int
    not_on: tuple[str, ...] = ()


WIDE_ACCESS = (
    WideAccess(
        r"\bFast<(float|__nv_bfloat16|__half)\b", loads=1, stores=1, in_flight=4, narrow_inside=0, narrow_around=8
    ),
    WideAccess(r"\bFastTwice<", loads=1, stores=1, in_flight=4, narrow_inside=0, narrow_around=8, not_on=("sm_75",)),
)

NO_SPILLS = r"<float\b"
NO_SPILLS_ON = ("sm_80", "sm_90")
# The most bytes that others may spill, by their names, in no inner loop: the general kind, for any strides, keeps
# addresses in memory that it takes from there once a tile.
MAY_SPILL = {r"\bGeneral<": 320}

REGISTERS = 65536  # of a multiprocessor
REGISTER_UNIT = 8  # registers of a thread are given out in eights


@dataclass(frozen=True)
class Kernel:
    """A kernel as compiled for an architecture; sizes in bytes."""

    source: str
    name: str
    architecture: str
    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int
    body: Body


@dataclass(frozen=True)
class Plan:
    """What csrc/cuda/plan.h counts on: threads of a block, and blocks that a multiprocessor has room for at once."""

    threads: int
    blocks: int

    @classmethod
    def read(cls, text: str) -> Plan:
        return cls(constant(text, "kThreads"), constant(text, "kBlocks"))


def constant(text: str, name: str) -> int:
    found = re.search(rf"\bconstexpr int {name} = (\d+);", text)
    if found is None:
        raise ValueError(f"plan.h has no `constexpr int {name} = NUMBER;`, which the rules of `make cuda` count on")
    return int(found[1])


def wide_access(kernel: Kernel, _: Plan) -> Iterator[str]:
    body = kernel.body
    for rule in wide_rules(kernel):
        for what, kinds, least in (("loads", WIDE_LOADS, rule.loads), ("stores", WIDE_STORES, rule.stores)):
            if (found := total(body.counts, kinds)) < least:
                yield f"{found} wide {what}, not {least} or more"
        copying = [loop.in_flight for loop in body.loops if total(loop.counts, WIDE_STORES)]
        if (most := max(copying, default=0)) < rule.in_flight:
            yield f"{most} wide loads in flight in a loop with wide stores, not {rule.in_flight} or more"
        for loop in filter(is_wide, body.loops):
            inside = not any(other.blocks < loop.blocks for other in filter(is_wide, body.loops))
            allowed = rule.narrow_inside if inside else rule.narrow_around
            if total(loop.counts, NARROW) > allowed:
                narrow = ", ".join(f"{loop.counts[kind]} {kind}" for kind in NARROW if kind in loop.counts)
                yield f"narrow accesses in the loop at {loop.at:#x} (depth {loop.depth}): {narrow}; at most {allowed}"


def wide_rules(kernel: Kernel) -> list[WideAccess]:
    return [
        rule for rule in WIDE_ACCESS if re.search(rule.kernel, kernel.name) and kernel.architecture not in rule.not_on
    ]


def is_wide(loop: Loop) -> bool:
    return total(loop.counts, WIDE_LOADS + WIDE_STORES) > 0


def total(counts: Mapping[str, int], kinds: Iterable[str]) -> int:
    return sum(counts.get(kind, 0) for kind in kinds)


def no_spills(kernel: Kernel, _: Plan) -> Iterator[str]:
    if kernel.architecture not in NO_SPILLS_ON or not re.search(NO_SPILLS, kernel.name):
        return
    allowed = max((most for pattern, most in MAY_SPILL.items() if re.search(pattern, kernel.name)), default=0)
    if max(kernel.spill_stores, kernel.spill_loads) > allowed:
        yield f"spills: {kernel.spill_stores} bytes stored, {kernel.spill_loads} bytes loaded; at most {allowed}"
    looping = [loop for loop in kernel.body.loops if loop.depth > 2 and total(loop.counts, SPILLS)]
    if looping:
        yield f"spills in an inner loop, at {looping[0].at:#x}"


def registers(kernel: Kernel, plan: Plan) -> Iterator[str]:
    most = REGISTERS // (plan.threads * plan.blocks) // REGISTER_UNIT * REGISTER_UNIT
    if kernel.registers > most:
        yield f"{kernel.registers} registers; {plan.blocks} blocks of {plan.threads} threads have {most}"


def shared_memory(kernel: Kernel, _: Plan) -> Iterator[str]:
    """The plan lays dynamic arrays into all the shared memory that a multiprocessor has for its blocks."""
    if kernel.shared:
        yield f"{kernel.shared} bytes of static shared memory, which the plan gives to dynamic arrays"


RULES: dict[str, Callable[[Kernel, Plan], Iterator[str]]] = {
    "wide access": wide_access,
    "no spills": no_spills,
    "registers": registers,
    "shared memory": shared_memory,
}


def failures(kernels: Iterable[Kernel], plan: Plan) -> list[str]:
    """What fails which rule, a line each. A rule on wide access that no kernel falls under would check nothing."""
    kernels = list(kernels)
    found = [
        f"{kernel.name} ({kernel.source}) on {kernel.architecture}: {rule}: {what}"
        for kernel in kernels
        for rule, check in RULES.items()
        for what in check(kernel, plan)
    ]
    used = {rule for kernel in kernels for rule in wide_rules(kernel)}
    return found + [f"wide access: no kernel is named like {rule.kernel}" for rule in WIDE_ACCESS if rule not in used]
