"""Failures, retry and cancel, on a study folder made by hand and a SLURM of shell scripts."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from moore.cli.main import main
from tests.support.slurm_lab import Lab, read

MakeLab = Callable[..., Lab]
Captured = pytest.CaptureFixture[str]


def test_failures(lab: MakeLab, capsys: Captured) -> None:
    """Breaks if a failed unit, its last words or a bad node is missing, or a controller has to answer for it."""
    four = lab("abcd")
    four.submit([four.units])
    calls = four.fake("squeue", "exit 1")
    units = four.units
    four.fail(units[0], kind="out of memory", exit_code=-9, node="n2", task="12_3")
    units[0].log_path.write_text("".join(f"line {number} [red]\n" for number in range(30)))
    four.fail(units[1], final=False, attempts=1, node="n2")
    four.fail(units[2], node=None, host="n3", exit_code=None, task=None)
    four.fail(units[3])
    four.finish(units[3].runs)  # a later attempt ended well, killed before it could say so
    assert main(["study", "failures", *four.arguments, "--json"]) == 0
    facts = read(capsys.readouterr().out)
    assert list(facts) == ["study", "failures", "nodes"]
    assert facts["nodes"] == {"n2": 2}
    assert [entry["unit"] for entry in facts["failures"]] == [unit.name for unit in units[:3]]
    first = facts["failures"][0]
    told = {"kind": "out of memory", "attempts": 2, "final": True, "exit_code": -9, "reason": "ValueError: x"}
    where = {"task": "12_3", "node": "n2", "config": str(units[0].spec_path), "log": str(units[0].log_path)}
    whose = {"unit": units[0].name, "runs": four.run_ids(units[0]), "time": first["time"]}
    assert first == told | where | whose | {"lines": [f"line {number} [red]" for number in range(20, 30)]}
    assert main(["study", "failures", *four.arguments]) == 0
    out = capsys.readouterr().out
    for word in (*(unit.name for unit in units[:3]), "out of memory", "-9", "12_3", "line 29 [red]", "{exclude: n2}"):
        assert word in out
    assert not calls.exists()


def test_retry(lab: MakeLab, capsys: Captured) -> None:
    """Breaks if another unit is tried again than the one named, or more goes than the record of its failure."""
    three = lab("abc")
    for unit in three.units:
        three.fail(unit)
    three.units[1].checkpoint_folder("online").mkdir(parents=True)
    three.units[1].log_path.write_text("x")
    named, other = three.run_ids(three.units[1])
    before = set(three.folder.rglob("*"))
    assert main(["study", "retry", *three.arguments[:1], named, *three.arguments[1:]]) == 0
    assert before - set(three.folder.rglob("*")) == {three.units[1].failed_path}
    assert capsys.readouterr().out.count(other) == 1  # it is trained together with the one named
    assert main(["study", "retry", *three.arguments]) == 0
    assert "tries again: 4 of its runs" in capsys.readouterr().out
    assert not any(unit.failed_path.exists() for unit in three.units)


def test_cancel(lab: MakeLab, capsys: Captured) -> None:
    """Breaks if another task is cancelled than those of the named runs, or what stops with them is not told."""
    four = lab("abcd")
    a, b, c, d = four.units
    four.submit([[a, b], [c]], [[d]])
    four.finish(b.runs)
    waiting = ("1|1|PENDING|Priority||0", "2|0|PENDING|Priority||0")
    four.queue("1|0|RUNNING|None|n1|0", *waiting, "9|0|RUNNING|None|n9|0|another")
    calls = four.fake("scancel", "")
    named, other = four.run_ids(a)
    idle = four.run_ids(b)[0]  # finished, in a task that goes on for others

    def cancel(*runs: str) -> list[str]:
        assert main(["study", "cancel", *four.arguments[:1], *runs, *four.arguments[1:]]) == 0
        return capsys.readouterr().out.splitlines()

    cancel(idle)
    assert not calls.exists()
    first, stops, also, left = cancel(named, idle)
    assert calls.read_text() == "1_0\n"
    assert first.endswith("cancelled 1_0")
    assert "runs that stop: 2;" in stops
    assert also.endswith(f": {other}")
    assert left.endswith(f": {idle}")
    calls.unlink()
    assert "runs that stop: 6;" in cancel()[1]
    assert calls.read_text() == "1_0 1_1 2_0\n"


def test_cancel_without_slurm(lab: MakeLab, capsys: Captured) -> None:
    """Breaks if tasks that nobody could cancel are said to be cancelled."""
    one = lab()
    one.submit([[one.units[0]]])
    one.queue("1|0|RUNNING|None|n1|0")
    one.fake("scancel", "echo scancel: error: Access denied >&2; exit 1")
    assert main(["study", "cancel", *one.arguments]) == 2
    one.fake("squeue", "exit 1")
    assert main(["study", "cancel", *one.arguments]) == 2
    one.without_slurm()
    assert main(["study", "cancel", *one.arguments]) == 2
    assert capsys.readouterr().out == ""


def test_a_root_that_is_not_there(lab: MakeLab, capsys: Captured) -> None:
    """Breaks if nothing is shown and nothing is said."""
    one = lab()
    for command in ("retry", "failures"):
        assert main(["study", command, *one.arguments]) == 2
        assert f"{one.folder}: is not there; accepted: the --root" in capsys.readouterr().err


def test_a_reader_that_goes(lab: MakeLab) -> None:
    """Breaks if `moore study status ... | head` ends in a traceback."""
    words = [sys.executable, "-m", "moore.cli.main", "study", "status", *lab().arguments, "--json"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
