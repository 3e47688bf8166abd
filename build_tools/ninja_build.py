"""Writes the ninja file of the extension and runs it."""

from __future__ import annotations

import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import ninja
import pybind11
from configuration import TORCH_FLOOR, TORCH_TARGET_VERSION, BuildError, Configuration, gencode
from ninja.ninja_syntax import Writer

ROOT = Path(__file__).parents[1]
SOURCES = Path("csrc")  # from the root, where the compilers run
# The kernels in csrc/cpu that are compiled once for each instruction set, and the flags of each set. The baseline
# comes first: where the linker finds a function twice it keeps the first, which runs on every processor.
TILE_KERNELS = ("forward_kernel.cpp", "backward_kernel.cpp", "kernel_table.cpp")
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
INSTRUCTION_SETS = {"baseline": []} | (
    {
        "avx2": AVX2,
        "avx512": [
            *AVX2,
            "-mavx512f",
            "-mavx512bw",
            "-mavx512dq",
            "-mavx512vl",
            "-Wno-maybe-uninitialized",
            "-Wno-uninitialized",
        ],
    }
    if platform.machine() == "x86_64"
    else {}
)


def build(configuration: Configuration, build_folder: Path, output: Path) -> None:
    """Compiles what has changed and links ``output``.

    Raises:
        BuildError: If a compiler fails; its own messages stand above.
    """
    build_folder.mkdir(parents=True, exist_ok=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    ninja_file = build_folder / "build.ninja"
    with ninja_file.open("w") as file:
        _write(Writer(file, width=110), configuration, build_folder, output)
    command = [str(Path(ninja.BIN_DIR) / "ninja"), "-f", str(ninja_file), "-j", str(configuration.jobs)]
    if subprocess.run(command, check=False).returncode != 0:
        raise BuildError("a compiler failed, see its messages above")


def _write(writer: Writer, configuration: Configuration, build_folder: Path, output: Path) -> None:
    writer.variable("cxx", configuration.compiler)
    writer.variable("flags", " ".join(common_flags(configuration)))
    writer.rule(
        "compile",
        f"$cxx {_dependencies()} $flags $extra -c $in -o $out",
        depfile="$out.d",
        deps="gcc",
        description="C++  $in $isa",
    )
    writer.rule("link", "$cxx -shared -o $out $in $libraries", description="link $out")

    objects = []
    for source, instruction_set, flags in tile_kernels():
        target = build_folder / "cpu" / f"{source.stem}.{instruction_set}.o"
        variables = {"extra": flags, "isa": instruction_set}
        objects += writer.build(str(target), "compile", str(source), variables=variables)
    extra = " ".join(torch_flags(configuration))
    for source in [SOURCES / "module.cpp", *cpu_sources(), *sorted((SOURCES / "ops").glob("*.cpp"))]:
        target = build_folder / source.relative_to(SOURCES).with_suffix(".o")
        objects += writer.build(str(target), "compile", str(source), variables={"extra": extra})
    if configuration.nvcc:
        objects += _write_cuda(writer, configuration, build_folder)
    writer.build(str(output), "link", objects, variables={"libraries": " ".join(libraries(configuration))})


def _write_cuda(writer: Writer, configuration: Configuration, build_folder: Path) -> list[str]:
    optimisation = ["-G", "-g"] if configuration.debug else ["-O3", "-lineinfo", "-Xptxas=-v"]
    flags = [
        "-std=c++17",
        "--expt-relaxed-constexpr",
        f"-I{SOURCES}",
        "-Xcompiler=-fPIC,-fvisibility=hidden",
        *optimisation,
    ]
    writer.variable("nvcc", configuration.nvcc)
    writer.variable("nvcc_flags", " ".join([*flags, *gencode(configuration.architectures)]))
    writer.rule(
        "compile_cuda",
        "$nvcc -MD -MF $out.d $nvcc_flags -c $in -o $out",
        depfile="$out.d",
        deps="gcc",
        description="CUDA $in",
    )
    objects = []
    for source in sorted((SOURCES / "cuda").glob("*.cu")):
        target = build_folder / "cuda" / f"{source.stem}.cu.o"
        objects += writer.build(str(target), "compile_cuda", str(source))
    return objects


def tile_kernels() -> Iterator[tuple[Path, str, str]]:
    """Returns the source, instruction set and flags of every compilation of the CPU kernels."""
    for instruction_set, flags in INSTRUCTION_SETS.items():
        for name in TILE_KERNELS:
            yield (
                SOURCES / "cpu" / name,
                instruction_set,
                " ".join([*flags, "-Wno-psabi", f"-DMNAD_ISA={instruction_set}"]),
            )


def cpu_sources() -> list[Path]:
    """Returns the sources in csrc/cpu that are compiled once, for every processor."""
    names = sorted(source.name for source in (ROOT / SOURCES / "cpu").glob("*.cpp"))
    return [SOURCES / "cpu" / name for name in names if name not in TILE_KERNELS]


def _dependencies() -> str:
    return "-MMD -MF $out.d"


def common_flags(configuration: Configuration) -> list[str]:
    """Returns the compiler's flags of all C++ sources; without -DNDEBUG, in a debug build, assertions are checked."""
    optimisation = ["-Og", "-g", "-D_GLIBCXX_ASSERTIONS"] if configuration.debug else ["-O3", "-DNDEBUG"]
    warnings = ["-Wall", "-Wextra"]
    return ["-std=c++20", "-fPIC", "-fvisibility=hidden", *warnings, f"-I{SOURCES}", *optimisation]


def torch_flags(configuration: Configuration) -> list[str]:
    """Returns the definitions and include folders of the sources that speak to torch."""
    definitions = {
        "TORCH_TARGET_VERSION": TORCH_TARGET_VERSION,
        "MNAD_TORCH_FLOOR": _quoted(TORCH_FLOOR),
        "MNAD_VERSION": _quoted(configuration.version),
        "MNAD_INSTRUCTION_SETS": _quoted(" ".join(INSTRUCTION_SETS)),
        "MNAD_DEBUG": str(int(configuration.debug)),
    }
    folders = [
        # First, as torch brings a pybind11 of its own, which refuses the stable interface under 2.11.
        Path(pybind11.get_include()),
        configuration.torch_root / "include",
        Path(sysconfig.get_path("include")),
    ]
    if configuration.nvcc:
        definitions |= {
            "USE_CUDA": "1",
            "MNAD_WITH_CUDA": "1",
            "MNAD_CUDA_VERSION": _quoted(configuration.cuda_version or ""),
            "MNAD_CUDA_ARCHITECTURES": _quoted(" ".join(configuration.architectures)),
        }
        folders += cuda_folders(configuration.nvcc, "include")
    return [f"-D{name}={value}" for name, value in definitions.items()] + [f"-isystem{folder}" for folder in folders]


def libraries(configuration: Configuration) -> list[str]:
    """Returns the linker's flags of what the extension stands on."""
    # torch is imported before the extension and has its libraries loaded, so no path to them is written down.
    found = [f"-L{configuration.torch_root / 'lib'}", "-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu"]
    if configuration.nvcc:
        folders = cuda_folders(configuration.nvcc, "lib64") + cuda_folders(configuration.nvcc, "lib")
        found += [*(f"-L{folder}" for folder in folders), "-lcudart_static", "-ldl", "-lrt", "-lpthread"]
    return [*found, *([] if configuration.debug else ["-s"])]


def cuda_folders(nvcc: str, name: str) -> list[Path]:
    """Finds a folder of the toolkit beside the nvcc that really runs, which may stand behind a wrapper on PATH."""
    text = subprocess.run(
        [nvcc, "--dryrun", "-c", "-x", "cu", "/dev/null"], capture_output=True, text=True, check=False
    )
    tops = [line.split("TOP=", 1)[1].strip() for line in text.stderr.splitlines() if "TOP=" in line]
    roots = [Path(top) for top in tops] + [Path(nvcc).resolve().parent.parent]
    return [folder for root in roots if (folder := root / name).is_dir()]


def _quoted(text: str) -> str:
    return f"'\"{text}\"'"


if sys.platform != "linux":
    raise BuildError(f"it is built on Linux only so far, and this is {sys.platform}")
