"""The files for clusters: their own command lines, carried out by two launchers on this machine."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from mnad.artifacts.checkpoint import load_checkpoint

from tests.training.nodes import ENVIRONMENT, ended, free_port, started, wait_for

CLUSTER = Path(__file__).parents[2] / "examples" / "cluster"
SMALL = ("--size", "32", "--width", "4", "--accelerator", "cpu", "--batch-size", "3")
TORCHRUN = Path(sys.executable).with_name("torchrun")

# What SLURM's commands do for the script, on one machine: the real ones have been tried by hand.
SLURM = {
    "scontrol": """
        if [ "$1" = show ]; then printf '127.0.0.1\\n127.0.0.2\\n'; else echo "$@" >> "$TRIAL/requeued"; fi""",
    "srun": """
        while [[ "$1" == --* ]]; do [[ "$1" == *=* ]] || shift; shift; done
        "$@" & echo $! >> "$TRIAL/launchers"
        "$@" & echo $! >> "$TRIAL/launchers"
        wait -n; status=$?; wait; exit $status""",
    "scancel": """
        kill -TERM $(cat "$TRIAL/launchers")""",
}


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a job on two nodes."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, script in SLURM.items():
        (commands / name).write_text(f"#!/bin/bash\n{script}\n")
        (commands / name).chmod(0o755)
    job = free_port()  # the port of the rendezvous follows from it
    return {
        **ENVIRONMENT,
        "PATH": f"{commands}:{TORCHRUN.parent}:{os.environ['PATH']}",
        "TRIAL": str(tmp_path),
        "SLURM_JOB_ID": str(job),
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
    }


@pytest.mark.parametrize("event", ["time limit", "killed launcher"])
def test_a_slurm_job_that_ends_too_early_queues_up_again(
    event: str, slurm: dict[str, str], synthetic: Path, tmp_path: Path
) -> None:
    places = {"DATA": str(synthetic), "OUT": str(tmp_path / "run"), "CACHE": str(tmp_path / "cache"), "DEVICES": "1"}
    command = ["bash", CLUSTER / "train.sbatch", *SMALL, "--epochs", "2000"]
    with started(command, **slurm, **places) as [job]:
        wait_for(tmp_path / "run" / "checkpoint.safetensors", [job])
        if event == "time limit":
            job.process.send_signal(signal.SIGUSR1)
        else:
            os.kill(int((tmp_path / "launchers").read_text().split()[1]), signal.SIGKILL)
        [printed] = ended([job])
    assert job.process.returncode != 0
    step = load_checkpoint(tmp_path / "run").step
    assert f"stopped after step {step}" in printed
    assert (tmp_path / "requeued").read_text() == f"requeue {slurm['SLURM_JOB_ID']}\n"


def test_a_slurm_job_that_fails_without_having_moved_on_ends(slurm: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "commands" / "srun").write_text("#!/bin/bash\nexit 3\n")
    with started(["bash", CLUSTER / "train.sbatch"], **slurm, OUT=str(tmp_path / "run")) as [job]:
        ended([job])
    assert job.process.returncode == 3
    assert not (tmp_path / "requeued").exists()


def test_slurm_reads_the_options_that_the_script_needs() -> None:
    text = (CLUSTER / "train.sbatch").read_text()
    options = dict(
        line.split(None, 1)[1].lstrip("-").partition("=")[::2] for line in text.splitlines() if "#SBATCH" in line
    )
    assert options["ntasks-per-node"] == "1"
    assert options["signal"] == "B:USR1@120"
    assert "requeue" in options


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all((CLUSTER / "train-job.yaml").read_text())}


def test_the_pods_of_the_job_find_each_other_and_their_volume(resources: dict[str, Any]) -> None:
    job, service = resources["Job"], resources["Service"]
    name, pod = job["metadata"]["name"], job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    assert service["spec"]["clusterIP"] == "None"
    assert f"--rdzv-endpoint={name}-0.{pod['subdomain']}:29500" in pod["containers"][0]["args"]
    assert f"--nnodes={job['spec']['completions']}" in pod["containers"][0]["args"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    claim = resources["PersistentVolumeClaim"]
    assert {"name": "mnad", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}} in pod["volumes"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_command_of_the_kubernetes_job_trains_on_one_store(
    resources: dict[str, Any], synthetic: Path, tmp_path: Path
) -> None:
    [container] = resources["Job"]["spec"]["template"]["spec"]["containers"]
    [volume] = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "mnad"]
    call = [str(TORCHRUN.with_name(container["command"][0])), *container["args"], *SMALL, "--epochs=1"]
    call = [part.replace(f"={volume}", f"={tmp_path}") for part in call]
    endpoint = f"127.0.0.1:{free_port()}"
    call = [part.replace("mnad-train-0.mnad-train:29500", endpoint) for part in call]
    # The first process alone needs the data set: the other one maps the store that it has made.
    with started([*call, f"--data={synthetic}"], [*call, f"--data={tmp_path / 'nowhere'}"]) as nodes:
        printed = "".join(ended(nodes))
    assert [node.process.returncode for node in nodes] == [0, 0], printed
    assert printed.count("preparing once the clip store") == printed.count("wrote ") == 1
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert load_checkpoint(tmp_path / "runs" / "ped2").epoch == 1
