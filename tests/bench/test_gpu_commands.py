"""The commands for a GPU machine, rehearsed without one: whatever fails or hangs, they end in time, with results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from .rehearsal import Played, play

BENCH = Path(__file__).parents[2] / "bench"
STEPS = ("build", "cases", "tests", "bench", "bars")
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
# Those that hang get so many seconds in all, and play at the same time.
SECONDS = 12
HANGING = [*(f"{step}=hang" for step in STEPS), "tests=slow", "tests=hang bench=hang bars=hang", "memcheck=hang"]


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Played]]]:
    with ThreadPoolExecutor(len(HANGING)) as pool:
        yield {plays: pool.submit(_hang, plays, tmp_path_factory.mktemp("hanging")) for plays in HANGING}


def _hang(plays: str, folder: Path) -> Played:
    script = "gpu_sanitize.sh" if plays.startswith("memcheck") else "gpu_check.sh"
    return play([str(BENCH / script), str(folder / "out"), str(SECONDS)], folder, plays)


def check(tmp_path: Path, plays: str = "", *options: str, xdist: bool = False) -> Played:
    return play([str(BENCH / "gpu_check.sh"), *options, str(tmp_path / "out")], tmp_path, plays, xdist=xdist)


def test_all_goes_well(tmp_path: Path) -> None:
    played = check(tmp_path)
    assert played.code == 0, played.printed
    assert [played.status(step).split()[0] for step in STEPS] == ["ok"] * 5
    assert [call.split(":")[0] for call in played.calls] == list(STEPS)
    assert "bench went well" in (played.out / "log.txt").read_text()
    assert played.printed.endswith((played.out / "summary.txt").read_text())
    tests, bench = played.calls[2], played.calls[3]
    assert "-m cuda" in tests
    assert " -n " not in tests
    # Of 330 s nearly all are left, less those that the bars, the end of the last measurement and its killing may take.
    assert 250 < float(bench.split("--seconds ")[1]) < 330 * 0.85


def test_tests_run_in_several_processes_where_they_can(tmp_path: Path) -> None:
    tests = check(tmp_path, xdist=True).calls[2]
    assert 1 <= int(tests.split(" -n ")[1]) <= 8


@pytest.mark.parametrize(("step", "others"), [("build", []), ("cases", ["build"]), ("bars", list(STEPS[:4]))])
def test_what_all_else_needs_ends_it(step: str, others: list[str], tmp_path: Path) -> None:
    played = check(tmp_path, f"{step}=fail")
    assert played.code == 1
    assert played.status(step).startswith("FAILED (3)")
    assert played.status(step).endswith("it went wrong")
    assert [call.split(":")[0] for call in played.calls] == [*others, step]
    assert len((played.out / "summary.txt").read_text().splitlines()) == len(others) + 1


@pytest.mark.parametrize("step", ["tests", "bench"])
@pytest.mark.parametrize("how", ["fail", "unsupported"])
def test_the_others_go_on(step: str, how: str, tmp_path: Path) -> None:
    played = check(tmp_path, f"{step}={how}")
    assert played.code == 1
    assert {name: played.status(name).split()[0] for name in STEPS} == dict.fromkeys(STEPS, "ok") | {step: "FAILED"}


def test_a_benchmark_that_is_killed_still_gives_bars(tmp_path: Path) -> None:
    played = check(tmp_path, "bench=killed bars=real")
    assert played.code == 1
    assert played.status("bench").startswith("FAILED (137)")
    assert played.status("bars").startswith("ok")
    assert json.loads((played.out / "bars.json").read_text())["bars"][0]["verdict"] == "reached"
    assert "9 measurements left out for want of time" in played.printed
    assert sorted(path.name for path in played.out.iterdir()) == [
        "bars.json",
        "log.txt",
        "operators-played.json",
        "summary.txt",
        "table.md",
    ]


def test_results_of_an_earlier_call_are_not_taken_for_those_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "operators-before.json").write_text("{}")
    played = check(tmp_path, "cases=fail")
    assert sorted(path.name for path in played.out.iterdir()) == ["log.txt", "summary.txt"]


def test_a_dry_run_asks_for_no_gpu(tmp_path: Path) -> None:
    played = check(tmp_path, "", "--dry-run")
    assert played.code == 0
    assert [call.split(":")[0] for call in played.calls] == list(STEPS)


@pytest.mark.parametrize("plays", HANGING)
def test_time_runs_out(plays: str, hanging: dict[str, Future[Played]]) -> None:
    played = hanging[plays].result()
    assert played.code == 1
    assert played.seconds < SECONDS + 1, "it took more than the whole limit"
    assert played.survivors == []
    steps = ["build", "cases", *SANITIZERS, "profile"] if plays == "memcheck=hang" else list(STEPS)
    if plays in ("build=hang", "cases=hang"):
        del steps[steps.index(plays.split("=")[0]) + 1 :]
    assert [call.split(":")[0] for call in played.calls] == steps
    hung = [word.split("=")[0] for word in plays.split()]
    for step in steps:
        assert played.status(step).startswith("FAILED (took more than" if step in hung else "ok"), step
    if plays == "tests=slow":  # it is interrupted, not killed, and sums up
        assert played.status("tests").endswith("12 passed")


def sanitize(tmp_path: Path, plays: str = "", *, tools: bool = True) -> Played:
    return play([str(BENCH / "gpu_sanitize.sh"), str(tmp_path / "out")], tmp_path, plays, tools=tools)


def test_sanitizers_and_the_profiler(tmp_path: Path) -> None:
    played = sanitize(tmp_path)
    assert played.code == 0, played.printed
    assert [call.split(":")[0] for call in played.calls] == ["build", "cases", *SANITIZERS, "profile"]
    assert all(call.endswith("small_cases.py --cases two") for call in played.calls[1:6])
    assert (played.out / "ncu.txt").read_text() == "details of the kernels\n"


def test_a_sanitizer_that_finds_something(tmp_path: Path) -> None:
    played = sanitize(tmp_path, "racecheck=fail initcheck=unsupported")
    assert played.code == 1
    assert played.status("racecheck").startswith("FAILED (3)")
    assert played.status("initcheck").startswith("left out: not supported here")
    assert played.status("profile").startswith("ok")


def test_tools_that_are_missing_are_left_out(tmp_path: Path) -> None:
    played = sanitize(tmp_path, tools=False)
    assert played.code == 0, played.printed
    assert [played.status(step)[:8] for step in (*SANITIZERS, "profile")] == ["left out"] * 5


def test_who_ends_a_command_ends_its_steps(tmp_path: Path) -> None:
    command = f"timeout --foreground 1 bash {BENCH / 'gpu_check.sh'} {tmp_path / 'out'}"
    played = play(["-c", command], tmp_path, "build=hang")
    assert played.code == 124
    assert played.seconds < 10
    assert played.survivors == []
