"""Building and installing: what is packed, what the build listens to, what it says when something is missing."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import mnad_ext

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "build_tools"))

import backend  # noqa: E402
import check_wheel  # noqa: E402
import configuration  # noqa: E402
from configuration import BuildError, configure, gencode  # noqa: E402

PINNED_TORCH = re.findall(r"^torch==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The wheel of `make wheel`, beside the sdist that it is built from, and what the build printed."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, str(ROOT / "build_tools" / "make_wheel.py"), str(folder)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    wheel = Path(built.stdout.strip())
    assert list(folder.glob("*.whl")) == [wheel]
    return wheel, built.stderr


@pytest.fixture(scope="module")
def packages(made: tuple[Path, str]) -> tuple[set[str], set[str], str]:
    """Names in the sdist, names in the wheel, and what the build printed."""
    path, printed = made
    with tarfile.open(next(path.parent.glob("*.tar.gz"))) as sdist:
        sources = {
            name.split("/", 1)[1] for name in sdist.getnames() if "/" in name and not sdist.getmember(name).isdir()
        }
    with zipfile.ZipFile(path) as wheel:
        return sources, {name for name in wheel.namelist() if not name.endswith("/")}, printed


def tracked(*folders: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


def test_the_wheel_holds_the_packages_and_nothing_else(packages: tuple[set[str], set[str], str]) -> None:
    _, wheel, _ = packages
    expected = {name.removeprefix("python/") for name in tracked("mnad_ext", "python")}
    compiled = {name for name in wheel if name.endswith(".so")}
    information = {name for name in wheel if ".dist-info/" in name}
    assert len(compiled) == 1
    assert next(iter(compiled)).startswith("mnad_ext/_C.")
    assert wheel - compiled - information == {name for name in expected if not name.endswith(".pyi")} | {
        "mnad_ext/_C.pyi"
    }
    assert any(name.endswith("entry_points.txt") for name in information)
    assert any(name.endswith("LICENSE") for name in information)


def test_the_wheel_is_for_any_linux_of_its_age_and_brings_no_library(made: tuple[Path, str], tmp_path: Path) -> None:
    wheel, _ = made
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    tag = re.fullmatch(rf"mnad_ext-.*-{version}-{version}-manylinux_2_(\d+)_{platform.machine()}\.whl", wheel.name)
    assert tag is not None, wheel.name
    assert int(tag.group(1)) <= int(platform.libc_ver()[1].split(".")[1])
    with zipfile.ZipFile(wheel) as archive:
        extension = archive.extract(next(name for name in archive.namelist() if name.endswith(".so")), tmp_path)
    with Path(extension).open("rb") as file:
        dynamic = list(ELFFile(file).get_section_by_name(".dynamic").iter_tags())
    needed = {entry.needed for entry in dynamic if entry.entry.d_tag == "DT_NEEDED"}
    assert {"libtorch.so", "libtorch_cpu.so"} <= needed
    # Neither OpenMP, which torch has already and twice in a process is once too often, nor CUDA, nor Python itself.
    assert {name.split(".so")[0] for name in needed} <= {
        "libtorch", "libtorch_cpu", "libstdc++", "libgcc_s", "libc", "libm", "libdl", "librt", "libpthread",
        "ld-linux-x86-64", "ld-linux-aarch64",
    }  # fmt: skip
    assert not any(entry.entry.d_tag in ("DT_RPATH", "DT_RUNPATH") for entry in dynamic)


def test_the_wheel_works_where_no_compiler_is(made: tuple[Path, str]) -> None:
    """Gradients, opcheck, export, the module, words, in a clean environment; `make wheel` runs more of tests/ext.

    Then compiled code, by the compiler of this machine.
    """
    tests = tuple(f"tests/ext/test_{name}.py" for name in ("registration", "memory", "errors"))
    check_wheel.check(made[0], PINNED_TORCH, tests, compiled=("tests/ext/test_memory.py",))


def test_an_environment_with_a_compiler_is_refused(tmp_path: Path) -> None:
    compiler = tmp_path / "g++"
    compiler.touch()
    compiler.chmod(0o755)
    with pytest.raises(SystemExit, match=r"has compilers: g\+\+"):
        check_wheel.without_compilers(tmp_path)


def test_the_sdist_holds_what_a_build_needs_and_nothing_stray(packages: tuple[set[str], set[str], str]) -> None:
    sources, _, _ = packages
    needed = tracked("csrc", "build_tools", "mnad_ext", "python")
    needed |= {"setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt"}
    made = {"PKG-INFO", "setup.cfg"} | {name for name in sources if ".egg-info/" in name}
    assert sources - made == needed | {"MANIFEST.in", "CONTRIBUTING.md"}


def test_the_build_prints_its_configuration(packages: tuple[set[str], set[str], str]) -> None:
    _, _, printed = packages
    for words in ("building mnad_ext._C", "C++ compiler", "CUDA", "architectures", "jobs"):
        assert words in printed


def test_build_info_tells_what_was_built() -> None:
    info = mnad_ext.build_info()
    assert info["version"] == mnad_ext.__version__
    assert "baseline" in info["instruction_sets"].split()
    assert info["instruction_set_in_use"] in info["instruction_sets"].split()


def test_an_isolated_build_asks_for_no_torch_where_there_is_one() -> None:
    code = (
        "import sys; sys.path.insert(0, 'build_tools'); import backend; print(backend.get_requires_for_build_wheel())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    here = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "torch" not in here.stdout


def test_an_isolated_build_asks_for_torch_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import backend

    monkeypatch.setattr(backend.sysconfig, "get_path", lambda _: str(tmp_path))
    assert backend._target_site_packages() is None
    monkeypatch.setattr(backend, "_site_packages", None)
    assert any(requirement.startswith("torch>=") for requirement in backend.get_requires_for_build_wheel())


def test_variables_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_JOBS", "3")
    monkeypatch.setenv("MNAD_DEBUG", "1")
    monkeypatch.setenv("MNAD_CUDA", "0")
    found = configure("1.2.3")
    assert (found.jobs, found.debug, found.nvcc, found.architectures) == (3, True, None, ())
    assert "1.2.3 (debug)" in str(found)


def test_cuda_and_its_architectures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 13.0, V13.0.88'\n")
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setenv("MNAD_CUDA", "1")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0;9.0+PTX")
    found = configure("0")
    assert (found.nvcc, found.cuda_version, found.architectures) == (str(nvcc), "13.0", ("8.0", "9.0+PTX"))
    assert gencode(found.architectures) == [
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_90,code=sm_90",
        "-gencode=arch=compute_90,code=compute_90",
    ]
    assert "13.0 by" in str(found)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("MNAD_CUDA", "yes", "MNAD_CUDA must be auto, 0 or 1, got 'yes'"),
        ("MNAD_DEBUG", "on", "MNAD_DEBUG must be 0 or 1"),
        ("MAX_JOBS", "0", "MAX_JOBS must be a positive number"),
        ("CXX", "no-such-compiler", "no-such-compiler was not found. Install one"),
    ],
)
def test_wrong_variables(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BuildError, match=words):
        configure("0")


@pytest.mark.parametrize("named", ["env g++", "g++ -march=native -DNAME='a b'", "g++"])
def test_a_compiler_with_a_launcher_or_flags(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("CXX", named)
    monkeypatch.setenv("MNAD_CUDA", "0")
    launcher, *others = shlex.split(named)
    command = shlex.split(configure("0").compiler)
    assert command == [shutil.which(launcher), *others]
    assert "Free Software" in subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout


def build_without_isolation(folder: Path, module: str, content: str) -> subprocess.CompletedProcess[str]:
    """Runs the backend as pip does, where one of its modules is another."""
    (folder / f"{module}.py").write_text(content)
    hook = "import backend; backend.build_wheel('.')"
    path = os.pathsep.join([str(folder), str(ROOT / "build_tools")])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", hook]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_an_old_setuptools_is_told_by_name(tmp_path: Path) -> None:
    result = build_without_isolation(tmp_path, "setuptools", "__version__ = '59.6.0'")
    assert result.returncode != 0
    assert "needs setuptools 77 or later, and this is 59.6.0" in result.stderr
    assert "Traceback" not in result.stderr
    assert f"setuptools>={backend.SETUPTOOLS}" in (ROOT / "pyproject.toml").read_text()


def test_a_missing_build_requirement_is_told_by_name(tmp_path: Path) -> None:
    missing = "raise ModuleNotFoundError('no pybind11', name='pybind11')"
    result = build_without_isolation(tmp_path, "pybind11", missing)
    assert result.returncode != 0
    assert "mnad-ext cannot be built: pybind11 is missing" in result.stderr


def test_wrong_architectures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "hopper")
    with pytest.raises(BuildError, match="TORCH_CUDA_ARCH_LIST must list architectures"):
        configuration._architectures()


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(configuration.shutil, "which", lambda *_, **__: None)
    with pytest.raises(BuildError, match=r"apt-get install g\+\+"):
        configure("0")


def test_without_nvcc_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configuration.shutil, "which", lambda *_, **__: None)
    monkeypatch.setenv("MNAD_CUDA", "1")
    with pytest.raises(BuildError, match="Install the CUDA toolkit"):
        configuration.find_nvcc(torch_has_cuda=True)
    monkeypatch.setenv("MNAD_CUDA", "auto")
    assert configuration.find_nvcc(torch_has_cuda=True) is None
    assert "building without CUDA kernels" in capsys.readouterr().out


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BuildError, match="pip install 'torch>=2.11'"):
        configure("0")
