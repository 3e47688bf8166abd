"""Compiles the CUDA sources with g++ for the emulator: as an extension module and as programs under sanitizers."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import ninja
from mnad.runtime.files import alone
from ninja.ninja_syntax import Writer

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
sys.path.insert(0, str(ROOT / "build_tools"))

from configuration import configure, find_nvcc  # noqa: E402
from ninja_build import cpu_sources, cuda_folders, libraries, tile_kernels, torch_flags  # noqa: E402

FOLDER = ROOT / "build" / "cuda-emulator"
EXTENSION = FOLDER / f"_C{sysconfig.get_config_var('EXT_SUFFIX')}"
SANITIZERS = {"plain": [], "address": ["-fsanitize=address,undefined"], "thread": ["-fsanitize=thread"]}
PLANTED_BUGS = [
    "NONE",
    "MISSING_BARRIER",
    "SHARED_OVERRUN",
    "GLOBAL_OVERRUN",
    "DIVERGENT_BARRIER",
    "MISALIGNED_WORD",
    "MISSING_LANES",
    "LANES_OUTSIDE_GROUP",
    "LANES_AS_BARRIER",
    "MISSING_WAIT",
    "ABANDONED_COPY",
]


def available() -> bool:
    """Returns whether there is what it takes: nvcc's headers and a compiler that switches stacks on x86-64."""
    return shutil.which("nvcc") is not None and sysconfig.get_platform() == "linux-x86_64"


def build(*targets: Path) -> None:
    """Compiles what has changed of the given targets, one process of the tests at a time.

    Raises:
        subprocess.CalledProcessError: If a compiler fails; its messages are in its ``stdout``.
    """
    with alone(FOLDER):
        FOLDER.mkdir(exist_ok=True)
        with (FOLDER / "build.ninja").open("w") as file:
            _write(Writer(file, width=110))
        command = [str(Path(ninja.BIN_DIR) / "ninja"), "-f", str(FOLDER / "build.ninja"), *map(str, targets)]
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)


def passes(sanitizer: str) -> Path:
    """Names the program that runs passes by both kinds of kernels and compares them."""
    return FOLDER / f"run_passes.{sanitizer}"


def planted(bug: str, sanitizer: str) -> Path:
    """Names the program with a planted bug."""
    return FOLDER / f"planted.{bug}.{sanitizer}"


def _write(writer: Writer) -> None:
    nvcc = find_nvcc(torch_has_cuda=True)
    assert nvcc is not None
    folders = [HERE, ROOT / "csrc", *cuda_folders(nvcc, "include")]
    includes = " ".join(f"-{'I' if ROOT in folder.parents else 'isystem'}{folder}" for folder in folders)
    # Lines are all that sanitizers show; places of variables take as long to write as the rest of the work.
    flags = f"-std=c++20 -g1 -fPIC -Wall -Wextra -Wno-unknown-pragmas -DMNAD_CUDA_EMULATOR {includes}"
    writer.rule("compile", f"g++ {flags} $extra -MMD -MF $out.d -x c++ -c $in -o $out", depfile="$out.d", deps="gcc")
    writer.rule("link", "g++ $extra $in $libraries -o $out")
    engine = [_compile(writer, HERE / f"{name}.cpp", "-O2", name) for name in ("fiber", "scheduler")]
    _write_extension(writer, engine)
    for sanitizer, sanitizer_flags in SANITIZERS.items():
        _write_programs(writer, engine, sanitizer, " ".join(sanitizer_flags))


def _compile(writer: Writer, source: Path, extra: str, name: str) -> str:
    target = str(FOLDER / f"{name}.o")
    writer.build(target, "compile", str(source), variables={"extra": extra})
    return target


def _write_extension(writer: Writer, engine: list[str]) -> None:
    configuration = replace(configure("emulated"), nvcc=None)  # no GPU is served, whatever torch has
    extra = " ".join(["-O2 -fvisibility=hidden", *torch_flags(configuration)])
    sources = [*(ROOT / "csrc" / "cuda").glob("*.cu"), *(ROOT / "csrc" / "ops").glob("*.cpp"), HERE / "run.cpp"]
    replaced = ROOT / "csrc" / "ops" / "run.cpp"
    objects = [
        _compile(writer, source, extra, f"extension/{source.name}") for source in sorted(sources) if source != replaced
    ]
    # By its own CUDA runtime, also where torch has loaded the real one.
    variables = {"extra": "-shared -Wl,-Bsymbolic", "libraries": " ".join(libraries(configuration))}
    writer.build(str(EXTENSION), "link", objects + engine, variables=variables)


def _write_programs(writer: Writer, engine: list[str], sanitizer: str, flags: str) -> None:
    cpu = [ROOT / source for source in cpu_sources()]
    sources = [*(ROOT / "csrc" / "cuda").glob("*.cu"), *cpu, HERE / "run_passes.cpp"]
    extra = f"-O1 {flags} -DMNAD_ONLY_FLOAT"
    objects = [_compile(writer, source, extra, f"{sanitizer}/{source.name}") for source in sorted(sources)]
    for source, instruction_set, kernel_flags in tile_kernels():
        name = f"{sanitizer}/{source.name}.{instruction_set}"
        objects.append(_compile(writer, ROOT / source, f"{extra} {kernel_flags}", name))
    writer.build(str(passes(sanitizer)), "link", objects + engine, variables={"extra": flags, "libraries": "-lpthread"})
    for bug in PLANTED_BUGS:
        name = f"{sanitizer}/planted.{bug}"
        planted_object = _compile(writer, HERE / "planted_bugs.cu", f"{extra} -DBUG_{bug}", name)
        target = str(planted(bug, sanitizer))
        writer.build(target, "link", [planted_object, *engine], variables={"extra": flags, "libraries": ""})
