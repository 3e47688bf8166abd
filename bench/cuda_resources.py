"""Checks the kernels that nvcc compiled, shows what they need, and writes that to a file.

python bench/cuda_resources.py RESULTS.json PLAN.h OBJECT.o...

Beside X.o lie what nvcc and `ptxas -v` said, X.log, and the cubins that nvcc kept, X/*.cubin. The loops of every kernel
go to loops.txt beside them. The file of results has neither date nor commit: it changes where compiled kernels do and
not otherwise, so git knows since which commit they are so.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from cuda_rules import Kernel, Plan, failures, total
from rich.console import Console
from rich.table import Table
from sass import NARROW, WIDE_LOADS, WIDE_STORES, Executed, read

ENTRY = re.compile(r"Compiling entry function '(\S+)' for '(\w+)'")
MEMORY = r"\n\s*(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
USED = re.compile(r"Used (\d+) registers(?:.* (\d+) bytes smem)?")
SIZES = ("registers", "shared", "stack", "spill_stores", "spill_loads")  # in the order of USED and MEMORY
VERSION = re.compile(r"^Cuda compilation tools, release \S+ V(\S+)", re.MULTILINE)

COLUMNS: dict[str, Callable[[Kernel], object]] = {
    "registers": lambda kernel: kernel.registers,
    "shared": lambda kernel: kernel.shared,
    "stack": lambda kernel: kernel.stack,
    "spilled": lambda kernel: kernel.spill_stores + kernel.spill_loads,
    "wide loads": lambda kernel: total(kernel.body.counts, WIDE_LOADS),
    "wide stores": lambda kernel: total(kernel.body.counts, WIDE_STORES),
    "narrow": lambda kernel: total(kernel.body.counts, NARROW),
    "in flight": lambda kernel: kernel.body.in_flight,
}


def nvdisasm() -> str:
    """Finds the program in its package, which puts it beside the packages and not among the commands."""
    files = importlib.metadata.files("nvidia-cuda-nvdisasm") or []
    return str(next(file for file in files if file.name == "nvdisasm").locate())


def output(*command: str, given: str = "") -> str:
    return subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True, check=True).stdout


def compiled(object_file: Path) -> list[Kernel]:
    """The kernels that nvcc made of a source, for every architecture."""
    folder = object_file.with_suffix("")
    bodies = dict(read(output(nvdisasm(), "-c", str(cubin))) for cubin in folder.glob("*.cubin"))
    used = usage(object_file.with_suffix(".log").read_text())
    short_names = output("c++filt", given="\n".join(name for _, name in used)).splitlines()
    return [
        Kernel(folder.name, short_name(demangled), architecture, **sizes, body=bodies[architecture][name])
        for ((architecture, name), sizes), demangled in zip(used.items(), short_names, strict=True)
    ]


def usage(log: str) -> dict[tuple[str, str], dict[str, int]]:
    """What `ptxas -v` says, by architecture and mangled name."""
    _, *parts = ENTRY.split(log)
    found = {}
    for name, architecture, words in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        memory = re.search(f"Function properties for {re.escape(name)}{MEMORY}", words)
        used = USED.search(words)
        if memory is None or used is None:
            raise ValueError(f"ptxas -v says too little of {name}: {words}")
        numbers = map(int, (*used.groups("0"), *memory.groups()))
        found[architecture, name] = dict(zip(SIZES, numbers, strict=True))
    return found


def short_name(demangled: str) -> str:
    """Leaves out the type of the result, the namespaces and the parameters."""
    plain = demangled.replace("(anonymous namespace)::", "").replace("> >", ">>")
    plain = re.sub(r"\w+::", "", plain).removeprefix("void ")
    depth = 0
    for at, letter in enumerate(plain):
        if letter == "(" and depth == 0:
            return plain[:at]
        depth += {"<": 1, ">": -1}.get(letter, 0)
    return plain


def table(kernels: Sequence[Kernel], architectures: Sequence[str]) -> Table:
    """One row for a kernel of a source; where architectures differ, their figures one after the other."""
    shown = Table(title=f"Compiled kernels: {', '.join(architectures)}", box=None, header_style="bold")
    shown.add_column("kernel", no_wrap=True)
    for column in ("source", *COLUMNS):
        shown.add_column(column, justify="left" if column == "source" else "right")
    for source, name in dict.fromkeys((kernel.source, kernel.name) for kernel in kernels):
        same = [kernel for kernel in kernels if (kernel.source, kernel.name) == (source, name)]
        figures = [[str(figure(kernel)) for kernel in same] for figure in COLUMNS.values()]
        shown.add_row(name, source, *(few[0] if len(set(few)) == 1 else " ".join(few) for few in figures))
    return shown


def text(head: dict[str, Any], kernels: Iterable[Kernel]) -> str:
    """The file of results, with a line for every kernel."""
    listed = ",\n".join(f"  {json.dumps(sizes(kernel) | executed(kernel.body))}" for kernel in kernels)
    return f'{json.dumps(head, indent=1)[:-2]},\n "kernels": [\n{listed}\n ]\n}}\n'


def loops_text(kernels: Iterable[Kernel]) -> str:
    """The loops of every kernel, a line each, with their depth and where they begin in nvdisasm's listing."""
    lines = []
    for kernel in kernels:
        lines.append(f"{kernel.source} {kernel.name} {kernel.architecture}")
        lines += [f"  {loop.depth} {loop.at:#07x} {json.dumps(executed(loop))}" for loop in kernel.body.loops]
    return "\n".join(lines) + "\n"


def sizes(kernel: Kernel) -> dict[str, Any]:
    return {name: value for name, value in vars(kernel).items() if name != "body"}


def executed(code: Executed) -> dict[str, Any]:
    return {"instructions": code.instructions, "in_flight": code.in_flight} | code.counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="The file of results.")
    parser.add_argument("plan", type=Path, help="csrc/cuda/plan.h, for what it counts on.")
    parser.add_argument("objects", type=Path, nargs="+", help="What nvcc made, with logs and cubins beside it.")
    options = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        found = [kernel for kernels in pool.map(compiled, options.objects) for kernel in kernels]
    kernels = sorted(found, key=lambda kernel: (kernel.source, kernel.name, kernel.architecture))
    architectures = sorted({kernel.architecture for kernel in kernels})
    nvcc = VERSION.findall(options.objects[0].with_suffix(".log").read_text())[0]
    head = {"command": "make cuda", "nvcc": nvcc, "architectures": architectures}
    options.results.write_text(text(head, kernels))
    (options.objects[0].parent / "loops.txt").write_text(loops_text(kernels))
    Console(width=160).print(table(kernels, architectures))
    try:
        failed = failures(kernels, Plan.read(options.plan.read_text()))
    except ValueError as error:
        failed = [str(error)]
    sys.exit("\n".join(failed) or None)


if __name__ == "__main__":
    main()
