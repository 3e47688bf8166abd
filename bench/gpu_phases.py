"""What the compiled kernels execute for a tile, phase by phase, read from their machine code.

Each loop inside the loop over tiles is told by what it executes, and the numbers that its work needs tell how often it
runs. What lies between the loops counts once, the code of results that are not asked for included. What is not known
here, a loop or another number of barriers, is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from cuda_rules import constant, total
from sass import Body, Executed, Loop

PLAN = (Path(__file__).parents[1] / "csrc/cuda/plan.h").read_text()
THREADS = constant(PLAN, "kThreads")  # of a block
BLOCKS = constant(PLAN, "kBlocks")  # of a multiprocessor
TILE_COLUMNS = constant(PLAN, "kColumns")  # of a tile
ITEM_BLOCK = constant(PLAN, "kItemBlock")  # items that a thread has sums of at once
TYPES = {"float32": "float", "float64": "double", "bfloat16": "__nv_bfloat16", "float16": "__half"}
BYTES = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Case:
    work: str
    dtype: str
    layout: str
    B: int
    C: int
    P: int
    M: int

    @property
    def computing(self) -> int:
        """Bytes of a number that is computed with."""
        return max(BYTES[self.dtype], 4)

    @property
    def maps(self) -> int:
        """How many maps of C channels the pass moves."""
        return 4 if self.work == "backward+items" else 3

    @property
    def bytes(self) -> int:
        """The least that the pass moves of a position."""
        assigned = 0 if self.work == "read" else 2 * 8 + 4 * self.computing  # indices, scores, distances
        weights = 0 if self.work == "backward" else self.M * self.computing
        return self.maps * self.C * BYTES[self.dtype] + assigned + weights


@dataclass(frozen=True)
class Plan:
    """See Plan in csrc/cuda/plan.h."""

    tile: int
    shared_bytes: int
    scratch_bytes: int
    partial_bytes: int
    twice: bool
    chunks: int
    tiles_per_sample: int
    fast: bool
    items_shared: bool = True


@dataclass(frozen=True)
class Phase:
    """A loop over a part of a tile's work.

    Attributes:
        fits: Tells it by what the loop executes.
        unit: Kinds of instructions that tell how much of the work an iteration does; without, it does one.
        work: How many of them a thread executes for a tile.
        times: How many such loops run, by work; where a work is left out, none.
        around: Whether the loop is one around another.
    """

    name: str
    fits: Callable[[Counts], bool]
    unit: tuple[str, ...]
    work: Callable[[Case, Plan], float]
    times: Mapping[str, int]
    around: bool = False


def item_blocks(case: Case) -> int:
    return ceil(case.M / ITEM_BLOCK)


def blocks(case: Case, plan: Plan) -> int:
    return item_blocks(case)


def elements(case: Case, plan: Plan) -> float:
    """A thread's share of a tile."""
    return plan.tile * case.C / THREADS


def of_blocks(case: Case, plan: Plan) -> float:
    """Elements, for every block of items."""
    return elements(case, plan) * item_blocks(case)


def packs(case: Case, plan: Plan) -> float:
    return elements(case, plan) * BYTES[case.dtype] / 16


def numbers(case: Case, plan: Plan) -> int:
    """How often a thread comes to what there is of each position and item."""
    return ceil(numbers_of_thread(case, plan))


def numbers_of_thread(case: Case, plan: Plan) -> float:
    """A thread's share of it."""
    return case.M * plan.tile / THREADS


def packs_of_numbers(case: Case, plan: Plan) -> int:
    return ceil(case.M * plan.tile * case.computing / 16 / THREADS)


# Accesses of which the compiler does not know that they go to shared memory, and sums in double.
ALIASES = {"LD": "LDS", "ST": "STS", "DFMA": "FFMA", "DADD": "FADD", "DMUL": "FMUL"}
SUMS = {"FADD", "FMUL"}


def has(counts: Counts, *kinds: str) -> bool:
    """Whether there is each of these kinds of instructions, whatever its width; of others at most sums and spills."""
    return set(kinds) == names(counts) - SUMS - {"LDL", "STL"}


def names(counts: Counts) -> set[str]:
    return {ALIASES.get(name, name) for name in (kind.split(".")[0] for kind in counts)}


def madds(counts: Counts) -> int:
    return total(counts, MADDS)


def products(counts: Counts) -> bool:
    return has(counts, "FFMA", "LDS") and madds(counts) % (ITEM_BLOCK + 1) == 0  # the items and the square


def other_sums(counts: Counts, of_element: int) -> bool:
    return has(counts, "FFMA", "LDS") and not products(counts) and madds(counts) % of_element == 0


def writes_map(counts: Counts, of_element: int) -> bool:
    return "STG.128" in counts and madds(counts) > 0 and madds(counts) % of_element == 0


def is_mean(counts: Counts) -> bool:
    return has(counts, "FFMA", "LDS") and not (SUMS & names(counts) or of_rows(counts) or products(counts))


def is_softmax(counts: Counts) -> bool:
    return has(counts, "FFMA", "LDS", "STS", "MUFU")


def is_logarithms(counts: Counts) -> bool:
    return names(counts) - {"MUFU"} == {"FFMA", "LDS"} | SUMS


def is_steps(counts: Counts) -> bool:
    """Around weighted sums of the items: writes them."""
    return any(kind.startswith("STG") for kind in counts) and madds(counts) > 0


def loads(counts: Counts) -> bool:
    """A map, straight to shared memory or by registers, of which several are filled at once."""
    return counts.get("LDGSTS.128", 0) > 0 or (has(counts, "LDG", "STS") and counts.get("LDG.128", 0) > 3)


def differences(counts: Counts) -> bool:
    return "FADD" in names(counts) and other_sums(counts, 4)


def weights_read(counts: Counts) -> bool:
    return has(counts, "LDG", "STS") and "LDG.128" not in counts


def plain_sums(counts: Counts) -> bool:
    return "FADD" in names(counts) and "FMUL" not in names(counts) and other_sums(counts, 2)


def of_unit_queries(counts: Counts) -> bool:
    """The items' gradient: unit queries times whole rows of a table."""
    return has(counts, "FFMA", "LDS") and "FMUL" in names(counts) and "FADD" not in names(counts)


def of_rows(counts: Counts) -> bool:
    """Weighted sums of the items: whole rows of a table."""
    plain = has(counts, "FFMA", "LDS") and not SUMS & names(counts)
    return plain and "LD.128" in counts and madds(counts) % ITEM_BLOCK == 0


def parts(counts: Counts, *, times: bool) -> bool:
    """Numbers of an item that are changed where they are, by a factor or not."""
    return has(counts, "LDS", "STS") and ("FMUL" in names(counts)) == times


ALL = -1  # loops that there are
EVERY = {"read": 1, "step": 1, "backward": 1, "backward+items": 1}
COPIES, MADDS = ("LDG.128", "LDGSTS.128"), ("FFMA", "DFMA")
# What fast and general kernels have in common; in fast ones there is one block of items.
LOAD = Phase("load", loads, COPIES, packs, EVERY)
LOAD_MAPS = Phase("load", loads, COPIES, packs, {"backward": 2, "backward+items": 3})
PRODUCTS = Phase("products", products, MADDS, lambda c, p: (ITEM_BLOCK + 1) * of_blocks(c, p), EVERY)
NOT_FINITE = Phase("what is not finite", lambda n: has(n, "LDS"), (), elements, {})
QUERIES = Phase("queries", lambda n: has(n, "FFMA", "LDS", "STS"), MADDS, elements, {"step": 1})
CLEAR = Phase("clear", lambda n: has(n, "STS"), (), packs, {})
PAIR_SUMS = Phase("sums", plain_sums, MADDS, lambda c, p: 2 * elements(c, p), EVERY)
ITEM_GRADIENT = Phase("items", of_unit_queries, (), of_blocks, {"backward+items": 1})
STEPS = Phase("steps", is_steps, MADDS, lambda c, p: ITEM_BLOCK * elements(c, p), EVERY, around=True)
PHASES = {
    "forward": (
        LOAD, PRODUCTS, NOT_FINITE, QUERIES,
        Phase("numbers", lambda n: "SHFL" in n and "STG.128" not in n, (), numbers, {"step": 1}),
        Phase("differences", lambda n: other_sums(n, 4), MADDS, lambda c, p: 4 * elements(c, p), {"step": 1}),
        Phase("weights", lambda n: has(n, "LDS", "STG"), ("STG.128",), packs_of_numbers, EVERY),
        Phase("output", lambda n: writes_map(n, ITEM_BLOCK), MADDS, lambda c, p: ITEM_BLOCK * elements(c, p), EVERY),
    ),
    "backward": (
        LOAD_MAPS, CLEAR, PAIR_SUMS, replace(PRODUCTS, times={}), ITEM_GRADIENT,
        Phase("weights", lambda n: n.get("LDG.128") in (1, 2), ("LDG.128",), packs_of_numbers, {"backward+items": 1}),
        Phase("gradient", lambda n: writes_map(n, ITEM_BLOCK), MADDS, lambda c, p: ITEM_BLOCK * elements(c, p), EVERY),
    ),
    # Here the loops over blocks of items stand in others.
    "general forward": (
        LOAD, PRODUCTS, NOT_FINITE, QUERIES,
        Phase("blocks", lambda n: "BAR" in n, (), blocks, EVERY, around=True), STEPS,
        Phase("scores", lambda n: parts(n, times=True), (), blocks, EVERY),
        Phase("numbers", lambda n: "SHFL" in n and "BAR" not in n, (), numbers, {"step": 1}),
        Phase("differences", differences, MADDS, lambda c, p: 4 * elements(c, p), {"step": 1}),
        Phase("softmax", is_softmax, (), blocks, {"read": ALL, "step": ALL}),
        Phase("weights", lambda n: has(n, "LDS", "STG"), ("STG.32", "STG.64"), numbers_of_thread, EVERY),
        Phase("output", of_rows, MADDS, lambda c, p: ITEM_BLOCK * of_blocks(c, p), EVERY),
    ),
    "general backward": (
        LOAD_MAPS, CLEAR, PAIR_SUMS, replace(PRODUCTS, times={}), ITEM_GRADIENT,
        Phase("weights", weights_read, ("LDG.32", "LDG.64"), numbers_of_thread, {"backward+items": 1}),
        Phase("blocks", lambda n: "BAR" in n, (), blocks, {}, around=True), STEPS,
        Phase("mean", is_mean, (), elements, {}),
        Phase("softmax", lambda n: parts(n, times=True), (), blocks, {}),
        Phase("logarithms", is_logarithms, (), elements, {}),
        Phase("factors", lambda n: parts(n, times=False), (), blocks, EVERY),
        Phase("gradient", of_rows, MADDS, lambda c, p: ITEM_BLOCK * of_blocks(c, p), EVERY),
    ),
}  # fmt: skip
# Barriers of the loop over tiles that a pass does not come to, by its work and how many there are.
SKIPPED = {("read", 6): 2, ("step", 6): 0, ("backward", 4): 0, ("backward", 7): 3, ("backward+items", 7): 1}
# Those of general kernels: how many there are, for the items, for each block of them, and otherwise.
GENERAL = {"read": (7, 2, 2), "step": (7, 2, 4), "backward": (8, 0, 4), "backward+items": (8, 0, 6)}


@dataclass(frozen=True)
class TileCost:
    """What a thread executes for a tile; shared memory in 4-byte words. `between`: instructions outside the loops."""

    instructions: float
    between: float
    shared: float
    wide: float
    madds: float
    barriers: int
    load_rounds: float


def costs(code: Executed) -> dict[str, float]:
    found: Counter[str] = Counter(instructions=code.instructions)
    for kind, count in code.counts.items():
        name, _, bits = kind.partition(".")
        if name in ("LDS", "STS", "LD", "ST", "LDGSTS"):
            found["shared"] += count * max(int(bits) // 32, 1)
        if kind in ("LDG.128", "LDGSTS.128", "STG.128"):
            found["wide"] += count
        if kind in MADDS:
            found["madds"] += count
    return dict(found)


def tile_loop(body: Body) -> Loop:
    found = [loop for loop in body.loops if loop.depth == 1 and "BAR" in loop.counts]
    if len(found) != 1:
        raise ValueError(f"{len(found)} loops have barriers, where one goes over the tiles")
    return found[0]


def phase_of(loop: Loop, phases: Sequence[Phase]) -> Phase:
    fitting = [phase for phase in phases if phase.fits(loop.counts)]
    if len(fitting) != 1:
        names = " and ".join(phase.name for phase in fitting) or "no phase"
        raise ValueError(f"the loop at {loop.at:#x} looks like {names}: {dict(loop.counts)}")
    return fitting[0]


def tile_cost(body: Body, case: Case, plan: Plan) -> TileCost:
    """Adds up the loops of a tile, each as often as it runs, and what lies between them."""
    direction = "backward" if case.work.startswith("backward") else "forward"
    phases = PHASES[direction if plan.fast else f"general {direction}"]
    whole = tile_loop(body)
    inside = [loop for loop in body.loops if loop.blocks < whole.blocks]
    leaves = [loop for loop in inside if not any(other.blocks < loop.blocks for other in inside)]
    named = [(loop, phase_of(loop, [phase for phase in phases if not phase.around])) for loop in leaves]
    named += [(loop, phase) for loop, phase in loops_around(inside, leaves, phases)]
    spent = costs(whole)
    for loop in leaves:
        add(spent, costs(loop), -1)
    between = spent["instructions"]
    rounds = 0.0
    for phase in phases:
        for loop in running([loop for loop, of in named if of is phase], phase, case.work):
            trips = phase.work(case, plan) / (total(loop.counts, phase.unit) if phase.unit else 1)
            # What is around others counts once between the loops already.
            add(spent, own_costs(loop, inside), trips - 1 if phase.around else trips)
            rounds += ceil(trips) if phase.name == "load" and not plan.twice else 0
    known = {name: spent.get(name, 0) for name in ("instructions", "shared", "wide", "madds")}
    return TileCost(**known, between=between, barriers=barriers(whole, case, plan), load_rounds=rounds)


def loops_around(inside: Sequence[Loop], leaves: Sequence[Loop], phases: Sequence[Phase]) -> list[tuple[Loop, Phase]]:
    """The loops right around an innermost one that are phases of their own."""
    found = []
    for loop in inside:
        if loop in leaves or not any(child in leaves for child in children(loop, inside)):
            continue
        found += [(loop, phase) for phase in phases if phase.around and phase.fits(loop.counts)][:1]
    return found


def children(loop: Loop, loops: Sequence[Loop]) -> list[Loop]:
    within = [other for other in loops if other.blocks < loop.blocks]
    return [one for one in within if not any(one.blocks < other.blocks for other in within)]


def own_costs(loop: Loop, loops: Sequence[Loop]) -> dict[str, float]:
    """Without the loops within it."""
    found = costs(loop)
    for child in children(loop, loops):
        add(found, costs(child), -1)
    return found


def barriers(whole: Loop, case: Case, plan: Plan) -> int:
    count = whole.counts["BAR"]
    if not plan.fast and GENERAL[case.work][0] == count:
        return GENERAL[case.work][1] * item_blocks(case) + GENERAL[case.work][2]
    if plan.fast and (case.work, count) in SKIPPED:
        return count - SKIPPED[case.work, count]
    raise ValueError(f"{case.work} has {count} barriers in its loop over tiles, which the model does not know")


def add(to: dict[str, float], what: Mapping[str, float], times: float) -> None:
    for name, count in what.items():
        to[name] = to.get(name, 0) + times * count


def running(loops: Sequence[Loop], phase: Phase, work: str) -> list[Loop]:
    """Of a phase's loops those that run: the first ones, or the largest of which the others are versions and rests."""
    times = phase.times.get(work, 0)
    if times == ALL and loops:
        return list(loops)
    if len(loops) < abs(times):
        raise ValueError(f"{work} needs {abs(times)} loops of the phase {phase.name}, and has {len(loops)}")
    return [max(loops, key=lambda loop: loop.instructions)] if times == 1 else list(loops[:times])
