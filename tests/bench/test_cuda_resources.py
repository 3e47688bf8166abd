"""`make cuda` reads the machine code right, and its rules fail where a kernel does what they forbid."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

# An outer loop, left by a call, around a loop that copies 64 bytes; behind the end lies code that branches back.
SASS = """
	.target	sm_90
	.section	.text._Z4copyPf,"ax",@progbits
.text._Z4copyPf:
_Z4copyPf:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/                   LDG.E.128 R40, desc[UR4][R2.64] ;
        /*0020*/                   BSSY B0, `(.L_x_9) ;
.L_x_0:
        /*0030*/              @!P0 BRA `(.L_x_4) ;
.L_x_1:
        /*0040*/                   LDG.E.U16.CONSTANT R30, desc[UR4][R2.64] ;
.L_x_2:
        /*0050*/                   LDG.E.LTC128B.128 R4, desc[UR4][R2.64] ;
        /*0060*/              @!P1 LDG.E.128 R8, desc[UR4][R2.64+0x10] ;
        /*0070*/                   IADD3 R2, P2, R2, 0x40, RZ ;
        /*0080*/                   LDG.E.128 R12, desc[UR4][R2.64] ;
        /*0090*/                   FFMA R16, R9.reuse, R17, -R20 ;
        /*00a0*/                   LDG.E.128 R24, desc[UR4][R2.64] ;
        /*00b0*/                   STG.E.128 desc[UR4][R2.64], R24 ;
        /*00c0*/                   STS.U.64 [R3], R16 ;
        /*00d0*/               @P1 BRA `(.L_x_2) ;
        /*00e0*/                   STL [R1], R4                  (*"SpillRefill"*);
        /*00f0*/                   BRA.U UP0, `(.L_x_5) ;
.L_x_3:
        /*0100*/               @P0 CALL.REL.NOINC `(.L_x_8) ;
        /*0110*/                   BRA `(.L_x_0) ;
.L_x_8:
        /*0120*/                   BSYNC B0 ;
.L_x_9:
        /*0130*/                   EXIT ;
.L_x_4:
        /*0140*/                   MUFU.RCP R9, R9 ;
        /*0150*/                   BRA `(.L_x_1) ;
.L_x_5:
        /*0160*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0170*/                   BRA P3, `(.L_x_3) ;
        /*0180*/                   BRA `(.L_x_3) ;
.L_x_6:
        /*0190*/                   BRA `(.L_x_6);
        /*01a0*/                   NOP;
"""
PLANTED = r"""
template <class T> struct Fast;
template <class K> __global__ void narrow(const float* from, float* to, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) to[i] = from[i];
}
template <class K> __global__ void wide(const float4* __restrict__ from, float4* __restrict__ to, int n) {
  for (int i = threadIdx.x; i < n; i += 4 * blockDim.x) {
    float4 piece[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) piece[k] = from[i + k * blockDim.x];
#pragma unroll
    for (int k = 0; k < 4; ++k) to[i + k * blockDim.x] = piece[k];
  }
}
template <class T> __global__ void __launch_bounds__(1024, 2) spilling(const T* from, T* to) {
  T kept[64];
#pragma unroll
  for (int i = 0; i < 64; ++i) kept[i] = from[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 64; ++i) to[i * 1024 + threadIdx.x] = kept[i] * kept[63 - i];
}
__global__ void turning(float* at) {
  __shared__ float all[512];
  all[threadIdx.x] = at[threadIdx.x];
  __syncthreads();
  at[threadIdx.x] = all[511 - threadIdx.x];
}
template __global__ void narrow<Fast<float>>(const float*, float*, int);
template __global__ void wide<Fast<float>>(const float4*, float4*, int);
template __global__ void spilling(const float*, float*);
"""
PLAN = """
constexpr int kThreads = 256;
constexpr int kBlocks = 2;  // a multiprocessor
"""


@pytest.fixture
def sass(bench: Path) -> ModuleType:
    return importlib.import_module("sass")


@pytest.fixture
def rules(bench: Path) -> ModuleType:
    return importlib.import_module("cuda_rules")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kernels that break rules, and one that doesn't, compiled as `make cuda` compiles."""
    if shutil.which("nvcc") is None:
        pytest.skip("there is no nvcc")
    try:
        importlib.metadata.distribution("nvidia-cuda-nvdisasm")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("there is no nvdisasm; `make cuda` installs it")
    folder = tmp_path_factory.mktemp("planted")
    (folder / "kept").mkdir()
    (folder / "kept.cu").write_text(PLANTED)
    with (folder / "kept.log").open("w") as log:
        subprocess.run(["nvcc", "--version"], stdout=log, check=True)
        command = ["nvcc", "-arch=sm_90", "-Xptxas=-v", "--keep", "--keep-dir", "kept", "-c", "kept.cu", "-o", "kept.o"]
        subprocess.run(command, stderr=log, cwd=folder, check=True)
    return folder


def check(bench: Path, planted: Path, plan: str) -> tuple[int, list[str]]:
    """Runs what `make cuda` runs; gives its exit code and which kernel fails which rule, why."""
    (planted / "plan.h").write_text(plan)
    command = [bench / "cuda_resources.py", planted / "results.json", planted / "plan.h", planted / "kept.o"]
    checked = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    return checked.returncode, [line.replace(" (kept) on sm_90", "") for line in checked.stderr.splitlines()]


def test_what_a_kernel_executes(sass: ModuleType) -> None:
    architecture, bodies = sass.read(SASS)
    (name, body), *others = bodies.items()
    assert (architecture, name, body.instructions, others) == ("sm_90", "_Z4copyPf", 27, [])
    wide = {"LDG.128": 5, "STG.128": 1}
    assert body.counts == wide | {"BAR": 1, "FFMA": 1, "LDG.16": 1, "MUFU": 1, "STL.32": 1, "STS.64": 1}
    with pytest.raises(ValueError, match=r"names no \.target"):
        sass.read("nvdisasm fatal")


def test_loops_and_their_nesting(sass: ModuleType) -> None:
    inner, outer = sass.read(SASS)[1]["_Z4copyPf"].loops
    assert (inner.depth, inner.at, inner.instructions) == (2, 0x50, 9)
    assert inner.counts == {"FFMA": 1, "LDG.128": 4, "STG.128": 1, "STS.64": 1}
    assert (outer.depth, outer.at, outer.instructions) == (1, 0x30, 20)
    assert outer.counts == inner.counts | {"BAR": 1, "LDG.16": 1, "MUFU": 1, "STL.32": 1}
    assert inner.blocks < outer.blocks


def in_flight(sass: ModuleType, *lines: str) -> int:
    listed = "".join(line if line[0] == "." else f" /*{16 * i:04x}*/ {line} ;\n" for i, line in enumerate(lines))
    return sass.body(sass.sections(f".text.k:\n{listed} /*ff00*/ EXIT ;\n")["k"]).in_flight


@pytest.mark.parametrize(
    ("lines", "most"),
    [
        (["LDG.E.128 R4, [R2.64]", "LDG.E.128 R8, [R2.64]", "FADD R0, R7, R1", "LDG.E.128 R4, [R2.64]"], 2),
        (["LDG.E.128 R4, [R2.64]", "LDG.E.128 R8, [R4.64]"], 1),  # by an address just loaded
        (["@P0 LDG.E.128 R4, [R2.64]", "@!P0 LDG.E.128 R4, [R8.64]"], 1),  # one or the other
        (["LDG.E.128 R4, [R4.64]", "R2UR UR4, R8", "IMAD R8, R17, UR5, RZ", "LDG.E.128 R8, [R2.64]"], 2),
        (["LDG.E.64 R4, [R2.64]", "LDG.E R8, [R2.64]"], 0),
        (["LDGSTS.E.BYPASS.128 [R5], [R2.64]"] * 3 + ["LDGDEPBAR", "DEPBAR.LE SB0, 0x0"], 3),
        (["LDGSTS.E.BYPASS.128 [R5], [R2.64]", "DEPBAR.LE SB0, 0x0"] * 3, 1),
    ],
)
def test_loads_in_flight(sass: ModuleType, lines: list[str], most: int) -> None:
    assert in_flight(sass, *lines) == most


def test_loads_in_flight_over_branches(sass: ModuleType) -> None:
    perhaps = [part for n in (4, 8, 12) for part in (f"@P0 BRA `(.L{n})", f"LDG.E.128 R{n}, [R2.64]", f".L{n}:\n")]
    assert in_flight(sass, *perhaps) == 3
    assert in_flight(sass, *perhaps, "@P0 BRA `(.L1)", "FADD R0, R4, R8", ".L1:\n", "LDG.E.128 R16, [R2.64]") == 3
    either = ["@P0 BRA `(.L1)", "LDG.E.128 R4, [R2.64]", "BRA `(.L2)", ".L1:\n", "LDG.E.128 R4, [R6.64]", ".L2:\n"]
    assert in_flight(sass, *either) == 1
    loop = [".L0:\n", "FADD R0, R4, R8", "LDG.E.128 R4, [R2.64]", "LDG.E.128 R8, [R2.64]", "@P0 BRA `(.L0)"]
    assert in_flight(sass, *loop) == 2


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (("EXIT", "EXIT"), []),
        (("STS.U.64 [R3]", "STG.E.64 [R4.64]"), ["the loop at 0x50 (depth 2): 1 STG.64; at most 0"]),
        (("STG.E.128", "STG.E.64"), ["0 wide stores", "0 wide loads in flight in a loop", "1 STG.64; at most 0"]),
        (("NOP", "LDG.E R4, [R2.64]"), []),  # outside of loops
        (("MUFU.RCP R9, R9", " ;\n /*0140*/ LD.E R4, [R2.64]" * 8), ["(depth 1): 1 LDG.16, 8 LD.32; at most 8"]),
        (("R17, -R20", "R9, -R20"), ["3 wide loads in flight in a loop with wide stores, not 4 or more"]),
    ],
)
def test_wide_access(sass: ModuleType, rules: ModuleType, edit: tuple[str, str], found: list[str]) -> None:
    listing = SASS.replace("FFMA R16, R9.reuse", "FFMA R16, R17").replace(*edit)
    body = sass.read(listing)[1]["_Z4copyPf"]
    kernel = rules.Kernel("copy", "copy<Fast<__half>>", "sm_90", 32, 0, 0, 0, 0, body)
    failures = list(rules.wide_access(kernel, rules.Plan(256, 2)))
    assert len(failures) == len(found)
    assert all(part in failure for part, failure in zip(found, failures, strict=True))


@pytest.mark.parametrize(
    ("kind", "depth", "stored", "found"),
    [
        ("General", 2, 16, []),
        ("General", 3, 16, ["spills in an inner loop, at 0x40"]),
        ("General", 2, 400, ["spills: 400 bytes stored, 8 bytes loaded; at most 320"]),
        ("Fast", 2, 4, ["spills: 4 bytes stored, 8 bytes loaded; at most 0"]),
    ],
)
def test_spills(sass: ModuleType, rules: ModuleType, kind: str, depth: int, stored: int, found: list[str]) -> None:
    counts = {"LDL.32": 2}
    loop = sass.Loop(9, 0, counts, depth=depth, at=0x40, blocks=frozenset({1}))
    kernel = rules.Kernel(
        "x", f"x<{kind}<float, 4, true>>", "sm_90", 128, 0, 16, stored, 8, sass.Body(99, 0, counts, [loop])
    )
    assert list(rules.no_spills(kernel, rules.Plan(256, 2))) == found


def test_a_rule_without_a_kernel_fails(rules: ModuleType) -> None:
    found = rules.failures([], rules.Plan(256, 2))
    assert len(found) == len(rules.WIDE_ACCESS)
    assert all(failure.startswith("wide access: no kernel is named like ") for failure in found)


def test_a_rule_leaves_out_what_never_runs(sass: ModuleType, rules: ModuleType) -> None:
    empty = sass.Body(9, 0, {}, [])
    found = {
        architecture: list(
            rules.wide_access(
                rules.Kernel("x", "x<FastTwice<float>>", architecture, 32, 0, 0, 0, 0, empty), rules.Plan(256, 2)
            )
        )
        for architecture in ("sm_75", "sm_80")
    }
    assert found["sm_75"] == []
    assert "0 wide loads, not 1 or more" in found["sm_80"]


def test_compiled_kernels_fail_by_name(bench: Path, planted: Path) -> None:
    code, said = check(bench, planted, PLAN)
    assert code == 1
    assert [line.rsplit(": ", 1)[0] for line in said] == [
        *["narrow<Fast<float>>: wide access"] * 3,
        "spilling<float>: no spills: spills",
        "turning: shared memory",
        "wide access",
    ]
    results = json.loads((planted / "results.json").read_text())
    assert results["architectures"] == ["sm_90"]
    rows = {row["name"]: row for row in results["kernels"]}
    assert list(rows) == ["narrow<Fast<float>>", "spilling<float>", "turning", "wide<Fast<float>>"]
    assert rows["spilling<float>"]["registers"] == 32
    assert min(rows["spilling<float>"][what] for what in ("stack", "spill_stores", "spill_loads", "STL.32")) > 0
    assert rows["turning"]["shared"] == 2048
    assert [rows["wide<Fast<float>>"][what] for what in ("LDG.128", "STG.128", "in_flight")] == [4, 4, 4]
    assert "LDG.128" not in rows["narrow<Fast<float>>"]


def test_registers_follow_the_plan(bench: Path, planted: Path) -> None:
    enough = check(bench, planted, PLAN.replace("kBlocks = 2", "kBlocks = 8"))[1]
    assert not any(": registers: " in line for line in enough)
    too_few = check(bench, planted, PLAN.replace("kBlocks = 2", "kBlocks = 9"))[1]
    assert "spilling<float>: registers: 32 registers; 9 blocks of 256 threads have 24" in too_few


def test_a_plan_without_its_numbers(bench: Path, planted: Path) -> None:
    code, said = check(bench, planted, PLAN.replace("kBlocks", "kOthers"))
    assert code == 1
    assert said == ["plan.h has no `constexpr int kBlocks = NUMBER;`, which the rules of `make cuda` count on"]


def test_short_names(bench: Path) -> None:
    short_name = importlib.import_module("cuda_resources").short_name
    demangled = "void mnad::cuda::(anonymous namespace)::kernel<mnad::Fast<float, (mnad::Kind)1> >(Sums<float>, char*)"
    assert short_name(demangled) == "kernel<Fast<float, (Kind)1>>"
    assert short_name("kernel(float*)") == "kernel"
