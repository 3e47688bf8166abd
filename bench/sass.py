"""Reads what `nvdisasm -c` prints: of each kernel the instructions, the loops and how wide memory is accessed."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

ARCHITECTURE = re.compile(r"^\s*\.target\s+(sm_\w+)", re.MULTILINE)
SECTION = re.compile(r"^\.text\.(\S+):$")
LABEL = re.compile(r"^(\.L\w+):$")
INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]+)\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][\w.]*)\s*([^;]*?)\s*;")
REGISTER = re.compile(r"(?<!\w)R(\d+)")  # neither UR4 nor RZ

MEMORY = ("LDG", "STG", "LDGSTS", "LD", "ST", "LDS", "STS", "LDL", "STL")
OTHERS = ("FFMA", "FADD", "FMUL", "DFMA", "DADD", "DMUL", "SHFL", "MUFU", "BAR")
BITS = {"128": 128, "64": 64, "U16": 16, "S16": 16, "U8": 8, "S8": 8}
WIDE_LOADS = ("LDG.128", "LDGSTS.128")
WIDE_STORES = ("STG.128",)
# LD and ST are accesses of which the compiler does not know whether they go to global or to shared memory.
SPILLS = tuple(f"{kind}.{bits}" for kind in ("LDL", "STL") for bits in (8, 16, 32, 64, 128))
NARROW = tuple(f"{kind}.{bits}" for kind in ("LDG", "STG", "LDGSTS", "LD", "ST") for bits in (8, 16, 32, 64))

JUMPS = ("BRA", "BRX", "JMP", "JMX", "CALL")
ENDS = ("BRX", "JMP", "JMX", "EXIT", "RET")

COPY = -1  # stands among registers for what is copied to shared memory past them


@dataclass(frozen=True)
class Instruction:
    address: int
    guard: str
    opcode: str
    operands: str

    @cached_property
    def kind(self) -> str | None:
        """Returns what it counts as, such as LDG.128; nothing for most."""
        name, *modifiers = self.opcode.split(".")
        if name in MEMORY:
            return f"{name}.{next((BITS[word] for word in modifiers if word in BITS), 32)}"
        return name if name in OTHERS else None

    @cached_property
    def named(self) -> set[int]:
        """The registers that it reads or writes; of pairs and quads the first."""
        numbers = {int(number) for number in REGISTER.findall(self.operands)}
        return numbers | {COPY} if self.opcode.startswith("DEPBAR") else numbers

    @cached_property
    def fills(self) -> frozenset[int]:
        """The registers of a 128-bit load; a copy past them has a number of its own."""
        if self.kind == "LDG.128":
            first = int(REGISTER.findall(self.operands)[0])
            return frozenset(range(first, first + 4))
        return frozenset((COPY, COPY - 1 - self.address) if self.kind == "LDGSTS.128" else ())

    @cached_property
    def targets(self) -> list[str]:
        """The labels that it may go to; BSSY names one, too, but goes on. A call of a label never comes back."""
        return re.findall(r"\.L\w+", self.operands) if self.opcode.startswith(JUMPS) else []

    @property
    def falls_through(self) -> bool:
        if self.guard:
            return True
        if self.opcode.startswith("BRA"):
            return not self.operands.startswith("`")  # a predicate or a register comes before the label
        return not self.targets and not self.opcode.startswith(ENDS)


Block = list[Instruction]
Edges = Sequence[Sequence[int]]  # from each node


@dataclass(frozen=True)
class Code:
    """A kernel's section, subroutines included."""

    instructions: list[Instruction]
    labels: dict[str, int]  # the number of the instruction that follows


@dataclass(frozen=True)
class Executed:
    """What a piece of code is made of.

    Attributes:
        in_flight: The most 128-bit loads that are issued before the first of them is used.
        counts: Instructions of each kind that is counted.
    """

    instructions: int
    in_flight: int
    counts: dict[str, int]


@dataclass(frozen=True)
class Loop(Executed):
    """A loop, with the loops within it.

    Attributes:
        depth: 1 where no other encloses it.
        at: Address of its first instruction.
        blocks: Numbers of its basic blocks.
    """

    depth: int
    at: int
    blocks: frozenset[int]


@dataclass(frozen=True)
class Body(Executed):
    """A whole kernel; its innermost loops come first."""

    loops: list[Loop]


def read(text: str) -> tuple[str, dict[str, Body]]:
    """Returns the architecture and each kernel's body by its mangled name."""
    architecture = ARCHITECTURE.search(text)
    if architecture is None:
        raise ValueError("this is no listing of nvdisasm -c: it names no .target")
    return architecture[1], {name: body(code) for name, code in sections(text).items()}


def sections(text: str) -> dict[str, Code]:
    found: dict[str, Code] = {}
    code = Code([], {})
    for line in text.splitlines():
        if instruction := INSTRUCTION.match(line):
            address, guard, opcode, operands = instruction.groups()
            code.instructions.append(Instruction(int(address, 16), guard or "", opcode, operands))
        elif label := LABEL.match(line):
            code.labels[label[1]] = len(code.instructions)
        elif section := SECTION.match(line):
            code = found[section[1]] = Code([], {})
    return found


def body(code: Code) -> Body:
    blocks = basic_blocks(code)
    following = edges(code, blocks)
    whole = frozenset(range(len(blocks)))
    loops = [
        Loop(**vars(executed(nodes, blocks, following)), depth=depth, at=blocks[min(nodes)][0].address, blocks=nodes)
        for depth, nodes in nested_loops(whole, following)
        if sum(len(blocks[node]) for node in nodes) > 1  # behind every kernel's end a branch to itself is set as a trap
    ]
    loops.sort(key=lambda loop: (-loop.depth, loop.at))
    return Body(**vars(executed(whole, blocks, following)), loops=loops)


def executed(nodes: frozenset[int], blocks: Sequence[Block], following: Edges) -> Executed:
    kinds = Counter(kind for node in nodes for instruction in blocks[node] if (kind := instruction.kind))
    most = in_flight(nodes, blocks, following) if any(kind in kinds for kind in WIDE_LOADS) else 0
    return Executed(sum(len(blocks[node]) for node in nodes), most, dict(sorted(kinds.items())))


def in_flight(nodes: frozenset[int], blocks: Sequence[Block], following: Edges) -> int:
    """Counts the 128-bit loads that are issued before an instruction names a register that one of them fills.

    It goes along all paths at once, but round no loop. Loads used on one of the paths are not in flight behind them.
    Of loads into the same registers on different paths only one is taken.
    """
    issued: dict[int, set[Instruction]] = defaultdict(set)
    used: dict[int, set[Instruction]] = defaultdict(set)
    most = 0
    for node in forwards(nodes, following):
        for instruction in blocks[node]:
            pending = issued[node] - used[node]
            if pending and any(load.fills & instruction.named for load in pending):
                used[node] = set(issued[node])
            if instruction.fills:
                issued[node].add(instruction)
                most = max(most, len({load.fills for load in issued[node] - used[node]}))
        for other in following[node]:
            issued[other] |= issued[node]
            used[other] |= used[node]
    return most


def basic_blocks(code: Code) -> list[Block]:
    begins = {code.labels[target] for instruction in code.instructions for target in instruction.targets}
    blocks: list[Block] = []
    for number, instruction in enumerate(code.instructions):
        before = code.instructions[number - 1]
        if number == 0 or number in begins or before.targets or not before.falls_through:
            blocks.append([])
        blocks[-1].append(instruction)
    return blocks


def edges(code: Code, blocks: Sequence[Block]) -> list[list[int]]:
    """The blocks that may follow each block."""
    block_at = {block[0].address: number for number, block in enumerate(blocks)}
    following = []
    for number, block in enumerate(blocks):
        last = block[-1]
        after = [block_at[code.instructions[code.labels[target]].address] for target in last.targets]
        if last.falls_through and number + 1 < len(blocks):
            after.append(number + 1)
        following.append(after)
    return following


def nested_loops(nodes: frozenset[int], following: Edges, depth: int = 1) -> Iterator[tuple[int, frozenset[int]]]:
    """Returns depth and blocks of every loop: a largest set of blocks of which each can be reached from each.

    Without the block by which one enters a loop, what is left of it that still goes round is a loop inside.
    A branch back alone tells no loop: the compiler moves rare code behind the end, from where it branches back, too.
    """
    before = reversed_edges(following)
    for loop in components(nodes, following, before):
        if len(loop) == 1 and not loop & set(following[min(loop)]):
            continue
        yield depth, loop
        entries = [node for node in loop if not loop.issuperset(before[node])]
        yield from nested_loops(loop - {min(entries, default=min(loop))}, following, depth + 1)


def reversed_edges(following: Edges) -> list[list[int]]:
    before: list[list[int]] = [[] for _ in following]
    for node, nodes in enumerate(following):
        for other in nodes:
            before[other].append(node)
    return before


def components(nodes: frozenset[int], following: Edges, before: Edges) -> Iterator[frozenset[int]]:
    """Strongly connected components, by Kosaraju's two walks."""
    return (frozenset(walk) for walk in walks(forwards(nodes, following), nodes, before))


def forwards(nodes: frozenset[int], following: Edges) -> list[int]:
    """The nodes, each before those that follow it, where no loop leads back."""
    return [node for walk in walks(sorted(nodes), nodes, following) for node in walk][::-1]


def walks(roots: Iterable[int], nodes: frozenset[int], ahead: Edges) -> Iterator[list[int]]:
    """What a walk from each root comes to first, in the order in which it is left; only over `nodes`."""
    seen: set[int] = set()
    for root in roots:
        if root in seen:
            continue
        seen.add(root)
        left, path = [], [(root, iter(ahead[root]))]
        while path:
            node, others = path[-1]
            new = next((other for other in others if other in nodes and other not in seen), None)
            if new is None:
                left.append(node)
                path.pop()
            else:
                seen.add(new)
                path.append((new, iter(ahead[new])))
        yield left
