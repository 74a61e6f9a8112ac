"""Status: where every run is, on a study folder made by hand and a SLURM of shell scripts."""

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moore.base.errors import UserError
from moore.cli.main import main
from moore.run.units import study_units
from slurm.states import STATES, StudyView
from slurm.status import look
from tests.support.slurm_lab import STAMP, Lab, read

MakeLab = Callable[..., Lab]
RUNNING = "1|0|RUNNING|None|n1|0"
DEAD = 2**22 + 1  # beyond the largest number of a process


@pytest.fixture
def one(lab: MakeLab) -> Lab:
    """A study of one unit, which is element 0 of job 1 and runs."""
    made = lab()
    made.submit([made.units])
    made.queue(RUNNING)
    return made


def only(lab: Lab) -> dict[str, Any]:
    """What status says of a study's first unit, the same for its two runs."""
    first, second = look(lab.study, lab.root)["runs"][:2]
    assert first | {"run": ""} == second | {"run": ""}
    return first


@pytest.mark.parametrize(
    ("queue", "claim", "expected"),
    [
        ("1|0|PENDING|Priority||0", None, ("pending", None)),
        ("1|0|PENDING|PartitionTimeLimit||0", None, ("pending", None)),
        (RUNNING, None, ("pending", "n1")),  # its turn comes in its task
        ("1|0|PENDING|JobHeldUser||1", {}, ("pending", None)),
        ("1|0|RUNNING|None|n1|1", {}, ("pending", "n1")),  # requeued since the claim
        (RUNNING, {}, ("running", "n1")),
        ("1|0|RUNNING|None|n1|N/A", {"restart": 3}, ("running", "n1")),
        ("1|0|COMPLETING|None|n1|0", {}, ("running", "n1")),
        ("1|0|PENDING|Priority|n1|0", {}, ("pending", "n1")),
        ("1|0|RUNNING|None|n2|0", {"task": "7_0"}, ("pending", "n2")),  # the claim is of a task before
        (None, {}, ("stopped", "n1")),
        (None, None, ("todo", None)),
        (RUNNING, {"task": None, "host": "elsewhere", "node": None, "pid": 5}, ("claimed", "elsewhere")),
    ],
)
def test_state(one: Lab, queue: str | None, claim: dict[str, Any] | None, expected: tuple[str, ...]) -> None:
    """Breaks if the queue and the claim together give another state or node, or nobody is told that it never starts."""
    if claim is not None:
        one.claim(one.units[0], **{"task": "1_0"} | claim)
    one.queue(*([queue] if queue else []))
    got = only(one)
    assert (got["state"], got["node"]) == expected
    never = queue is not None and ("PartitionTimeLimit" in queue or "JobHeldUser" in queue)
    assert (got["never_starts"], "NEVER STARTS" in got["reason"]) == (never, never)


def test_local_process(lab: MakeLab) -> None:
    """Breaks if a local process is not found, a dead one counts, or SLURM is asked of what was never submitted."""
    one = lab()
    calls = one.fake("squeue", "exit 1")
    one.claim(one.units[0])
    assert only(one)["state"] == "running"
    one.claim(one.units[0], pid=DEAD)
    assert only(one)["state"] == "stopped"
    assert not calls.exists()


def test_failed_attempts(one: Lab) -> None:
    """Breaks if a failed attempt is taken for the last, the last for any other, or an older claim for a process."""
    one.claim(one.units[0], "1_0")
    one.fail(one.units[0], final=False, attempts=1, kind="out of memory")
    said = "its turn comes in its task; attempt 2 after out of memory"
    assert (only(one)["state"], only(one)["reason"]) == ("pending", said)
    one.claim(one.units[0], "1_0", since=time.time() + 1)  # the second attempt
    assert only(one)["state"] == "running"
    one.queue()
    one.claim(one.units[0], "1_0")
    assert (only(one)["state"], only(one)["reason"]) == ("stopped", "attempt 2 after out of memory")
    one.fail(one.units[0], kind="bad input", attempts=1, node="n7")
    got = only(one)
    assert (got["state"], got["node"]) == ("failed", "n7")
    assert got["reason"] == "bad input after 1 attempt: ValueError: x"


def test_json(lab: MakeLab, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a run is miscounted, a finished one gets a line, or a key that others read is missing."""
    many = lab("abcdefg")
    units = many.units
    many.submit([[units[0], units[1]], [units[2]]], [[units[3]]])
    many.finish(units[0].runs[:1], diverged=True)  # killed between two manifests
    many.claim(units[0], "1_0")
    units[0].checkpoint_folder("online").mkdir(parents=True)
    many.finish(units[4].runs)
    many.fail(units[5])
    many.queue(RUNNING, "1|1|PENDING|Resources||0", "9|0|RUNNING|None|n9|0|of-another-study")
    assert main(["study", "status", *many.arguments, "--json"]) == 0
    facts = read(capsys.readouterr().out)
    assert list(facts) == ["study", "note", "counts", "runs"]
    keys = ["run", "unit", "progress", "state", "reason", "node", "task", "never_starts"]
    assert list(facts["runs"][0]) == keys
    expected = {"all": 14, "done": 3, "diverged": 1, **dict.fromkeys(STATES, 0)}
    assert facts["counts"] == expected | {"running": 1, "pending": 4, "todo": 4, "failed": 2}
    unfinished = [*many.run_ids(units[0])[1:], *many.run_ids(*units[1:4], *units[5:])]
    assert Counter(run["run"] for run in facts["runs"]) == Counter(unfinished)


def test_split_unit(one: Lab) -> None:
    """Breaks if the halves of a unit that did not fit are not found in the task of the whole."""
    first, second = one.units[0].split("out of memory")
    one.claim(first, "1_0")
    states = {run["unit"]: run["state"] for run in look(one.study, one.root)["runs"]}
    assert states == {first.name: "running", second.name: "pending"}


def test_units_of_a_gpu(lab: MakeLab) -> None:
    """Breaks if a unit that takes several datasets together, as on a GPU, is looked for under another name."""
    one = lab()
    two_datasets = [
        replace(run, dataset=f"self:pendulum-{name}") for run in one.study.runs for name in ("low", "medium")
    ]
    study = replace(one.study, runs=two_datasets)
    (unit,) = study_units(study, one.root, "cuda")
    one.submit([[unit]], profile={"gpus": 1})
    one.fail(unit)
    assert [found.name for found in StudyView(study, one.root, ask=False).failed()] == [unit.name]


def test_a_submission_made_while_looking(one: Lab) -> None:
    """Breaks if the files are read before the queue: a task submitted in between would be nobody's."""
    folder = one.folder / "submissions" / STAMP
    later = folder.rename(folder.with_name("later"))
    one.fake("squeue", f"mv {later} {folder}; echo '1|0|PENDING|Priority||0|moore:{STAMP}:0'")
    assert only(one)["state"] == "pending"


def test_text(lab: MakeLab, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a line or the marked reason is missing or cut, or brackets in it are taken for markup."""
    two = lab("ab")
    two.submit([[two.units[0]]], [[two.units[1]]])
    two.claim(two.units[0], "1_0")
    two.told(two.units[0], 40, label="online: [bold]a[/bold]")
    two.queue(RUNNING, "2|0|PENDING|PartitionConfig||0")
    assert main(["study", "status", *two.arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line, run in zip(lines[2:6], two.run_ids(*two.units), strict=True):
        assert line.startswith(run)
        assert ("[bold]a[/bold]" if " running " in line else "NEVER STARTS: PartitionConfig") in line


def test_without_slurm(lab: MakeLab) -> None:
    """Breaks if a machine without SLURM says more than the files do."""
    two = lab("ab")
    two.submit([[two.units[0]], [two.units[1]]])
    two.claim(two.units[0], "1_0")
    two.without_slurm()
    facts = look(two.study, two.root)
    assert facts["note"] is not None
    assert [run["state"] for run in facts["runs"]] == ["claimed"] * 2 + ["todo"] * 2


def test_a_damaged_manifest(one: Lab) -> None:
    """Breaks if tasks whose manifest cannot be read are left out, as if nobody had their units."""
    for text in ("{", "[]", '{"arrays": [[]]}'):
        (one.folder / "submissions" / STAMP / "manifest.json").write_text(text)
        with pytest.raises(UserError, match=r"manifest\.json: "):
            look(one.study, one.root)


def test_watch(one: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if watching ends before all runs are finished, does not end then, or at a controller that restarts."""
    one.claim(one.units[0], "1_0")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            one.fake("squeue", "echo no controller >&2; exit 1")
        else:
            one.queue()
            one.finish(one.units[0].runs)

    monkeypatch.setattr("slurm.status.sleep", sleep)
    assert main(["study", "status", *one.arguments, "--watch"]) == 0
    assert slept == [30.0, 30.0]
    out = capsys.readouterr().out
    assert out.count("2 running") == 2
    assert "no controller" in out
    assert out.splitlines()[-1].startswith("s-tiny: 2 runs, 2 done")
    assert main(["study", "status", *one.arguments, "--watch", "--json"]) == 2
    assert "--watch" in capsys.readouterr().err


def test_root_below_another_folder(one: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a --root relative to the working folder finds other units than the submission's absolute one."""
    one.claim(one.units[0], "1_0")
    monkeypatch.chdir(one.root.parent)
    assert look(one.study, Path(os.path.relpath(one.root)))["counts"]["running"] == 2
