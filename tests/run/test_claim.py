"""Claims: a process that was cut off writes nothing more once another one has its unit."""

from pathlib import Path

import pandas as pd
import pytest

import moore.run.unit
from moore.base.files import read_json
from moore.run.claim import Claim
from moore.run.stop import Stopped
from moore.run.unit import Unit
from tests.support.resume_units import StopAt, rows, run_to_end, run_until, write_spec


def test_the_last_to_take_it_is_the_owner(tmp_path: Path) -> None:
    first, second = Claim(tmp_path / "u.claim.json"), Claim(tmp_path / "u.claim.json", "stamp")
    first.take()
    first.check()
    second.take()
    second.check()
    with pytest.raises(Stopped) as stopped:
        first.check()
    assert stopped.value.reason.startswith("the claim u.claim.json is held by process")
    claim = read_json(tmp_path / "u.claim.json")
    assert claim["submission"] == "stamp"
    second.give_back()
    with pytest.raises(Stopped) as stopped:
        second.check()
    assert "held by nobody" in stopped.value.reason


def test_a_process_that_was_cut_off_writes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if rows, checkpoints or finished runs of a process get between those of the one that has its unit now."""
    monkeypatch.setattr(moore.run.unit, "CHECKPOINT_SECONDS", 0.0)
    whole = tmp_path / "whole"
    run_to_end(write_spec(whole))
    path = write_spec(tmp_path / "cut")
    run_until(path, 75)  # online
    files = lambda: {p: p.read_bytes() for p in path.parents[1].rglob("*") if p.is_file() and "units" not in str(p)}  # noqa: E731
    other = Claim(path.with_name("unit.claim.json"), "stamp")

    class TakenAt(StopAt):
        @property
        def reason(self) -> str | None:
            self.left -= 1
            if self.left == 0:
                other.take()
                self.before = files()
            return None

    stop = TakenAt(4)
    with pytest.raises(Stopped) as stopped:
        Unit(path, stop).run()
    assert "is held by process" in stopped.value.reason
    assert files() == stop.before
    run_to_end(path)
    pd.testing.assert_frame_equal(rows(tmp_path / "cut"), rows(whole), check_exact=True)
    assert not path.with_name("unit.claim.json").exists()
