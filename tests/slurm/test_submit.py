"""Submitting: what sbatch gets, what is recorded, and that a task trains from there without the checkout's help."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from moore.cli.main import main
from moore.run.folders import is_finished
from moore.studies.identity import run_id
from slurm.plan import Plan
from slurm.profile import Profile
from slurm.submit import batch_script
from tests.support.slurm_lab import Lab

SLURM = Path(__file__).parents[2] / "slurm"
SRUN = 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"'
README = (SLURM / "README.md").read_text(encoding="utf-8")
(CONTAINER,) = re.findall(r'^    (python: "apptainer .*?")', README, re.MULTILINE)
EXEC = "exec --nv --bind $HOME/moore.sif python"  # and between them what is bound
APPTAINER = f'[ "$1 $2 $3 $5 $6" = "{EXEC}" ] || exit 9; shift 6; exec {sys.executable} "$@"'


def options(script: str) -> dict[str, str]:
    """The #SBATCH lines of a script."""
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH ")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def script(profile: Profile, folder: str = "/a b/stamp") -> str:
    """The second of two arrays, of five tasks."""
    return batch_script(Path(folder), "s-tiny", profile, 1, Plan(arrays=[[[]], [[]] * 5]))


def test_the_script(tmp_path: Path) -> None:
    """Breaks if an option of the profile is lost, or a task would not be found again by its comment, log and job."""
    profile = Profile(
        time="1:30:00", partition="main", cpus=3, memory="2G", gpus=2, gpu_type="a100", parallel=4,
        signal_seconds=90, setup=["module load x"], python="$HOME/bin/python", sbatch={"nice": 5, "exclusive": True},
    )  # fmt: skip
    text = script(profile)
    assert options(text) == {
        "job-name": "moore-s-tiny", "comment": "moore:stamp:1", "array": "0-4%2", "nodes": "1", "time": "90",
        "partition": "main", "cpus-per-task": "3", "mem": "2G", "gres": "gpu:a100:2", "signal": "USR2@90",
        "output": "'/a b/stamp/jobs/%A_%a_0_log.out'",
        "error": "'/a b/stamp/jobs/%A_%a_0_log.err'", "open-mode": "append", "requeue": "", "nice": "5",
        "exclusive": "",
    }  # fmt: skip
    lines = text.splitlines()
    assert lines.index("module load x") < lines.index("export PYTHONSAFEPATH=1")
    (path,) = [line for line in lines if line.startswith("export PYTHONPATH=")]
    assert path.index("/a b/stamp/code") < path.index(os.getcwd()) < path.index("$PYTHONPATH")
    assert lines[-1].endswith(" $HOME/bin/python -m slurm.start '/a b/stamp/jobs'")
    assert "--cpus-per-task=3" in lines[-1]
    assert options(script(profile, "/x/%u"))["output"] == "/x/%%u/jobs/%A_%a_0_log.out"  # Slurm would put a name


def test_a_task_trains_from_the_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if a task gets other options than the script's, or trains with other code; README's container."""
    lab = Lab(tmp_path, monkeypatch)
    calls = lab.fake("sbatch", 'cat > /dev/null; echo "7;cluster"')
    lab.fake("scontrol", "echo MaxArraySize = 9")
    (tmp_path / "p.yaml").write_text(f'time: "60"\npartition: main\n{CONTAINER}\n')
    contained = lab.fake("apptainer", APPTAINER)
    monkeypatch.chdir(tmp_path)
    assert main(["study", "submit", *lab.arguments, "--profile", "p.yaml"]) == 0
    assert "array 0: job 7, 1 tasks" in capsys.readouterr().out
    tested, submitted = calls.read_text().splitlines()
    assert (tested.split()[0], submitted.split()[0]) == ("--test-only", "--parsable")
    assert tested.split()[1:] == submitted.split()[1:]
    assert "--partition=main" in submitted.split()
    (folder,) = (lab.folder / "submissions").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["jobs"], manifest["directory"]) == (["7"], str(tmp_path))
    assert (folder / "jobs" / "7_0_submitted.pkl").is_file()

    lab.fake("srun", SRUN)
    slurm = {"SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_NODELIST": "n1"}
    done = subprocess.run(
        ["bash", str(folder / "jobs" / "array-0.sh")],
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | slurm,
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert contained.exists()
    for run in lab.study.runs:
        path = lab.folder / "runs" / run_id(run)
        assert is_finished(path, run), done.stderr
        commit = json.loads((path / "manifest.json").read_text())["git_commit"]
        assert commit == (folder / "code" / ".commit").read_text().strip()


def test_half_a_submission_is_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if an array is left in the queue, or a record on the disk, when sbatch refuses the next one."""
    lab = Lab(tmp_path, monkeypatch, "ab")
    refuse = 'case "$*" in *--test-only*) ;; *--comment=moore:*:0*) echo 7;; *) exit 1;; esac'
    lab.fake("sbatch", refuse)
    lab.fake("scontrol", "echo MaxArraySize = 1")
    lab.fake("squeue", f'echo "7|0|PENDING|x||0|$(cd {lab.folder}/submissions; echo moore:$(ls):0)"')
    cancelled = lab.fake("scancel", "")
    (tmp_path / "p.yaml").write_text('time: "60"\n')
    assert main(["study", "submit", *lab.arguments, "--profile", str(tmp_path / "p.yaml")]) == 2
    assert "sbatch refuses this" in capsys.readouterr().err
    assert cancelled.read_text() == "7\n"
    assert list((lab.folder / "submissions").iterdir()) == []
