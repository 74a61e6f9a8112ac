"""The benchmarks' clocks, counts and reports at the smallest size; how fast anything is, no test says."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from moore.base.errors import UserError
from tests.benchmarks import bench, clocks, scaling, slice
from tests.benchmarks.cases import UNITS, all_cases, random_transitions
from tests.benchmarks.clocks import Clocks
from tests.benchmarks.phases import PHASES, split
from tests.benchmarks.projection import column, makespan, projection
from tests.benchmarks.slice import Clock, Size, configurations, run_slice

TINY = Size(2, 300, 8, 8, 10, 3, 6, 8, 2, 4, 2, 2, 1)
COUNTED = {
    ("offline", "ensemble updates"): 3,
    ("offline", "evaluation steps"): 1000,
    ("offline", "rollouts"): 3,  # before updates 0, 2 and 4
    ("offline", "policy updates"): 6,
    ("online", "evaluation steps"): 1000,
    ("online", "environment steps"): 8,
    ("online", "ensemble updates"): 4,  # at steps 4 and 8
    ("online", "rollouts"): 2,
    ("online", "policy updates"): 10,  # from step 4 on, when D_model has rows
}


def test_clocks_give_every_second_to_one_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a part's time counts for its activity too, or for the activity around that activity."""
    now = 0.0

    class Work:
        def outer(self) -> None:
            spend(1)
            self.part()
            self.inner()

        def inner(self) -> None:
            spend(10)
            self.part()

        def part(self) -> None:
            spend(100)

    def spend(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(clocks.time, "perf_counter", lambda: now)
    found = Clocks()
    with found.watching([(Work, "outer", "out"), (Work, "inner", "in")], [(Work, "part", "p")]):
        Work().outer()
    Work().outer()  # not watched any more
    assert found.seconds == {("out", ""): 1, ("out", "p"): 100, ("in", ""): 10, ("in", "p"): 100}
    assert found.calls == dict.fromkeys(found.seconds, 1)
    with pytest.raises(AttributeError), Clocks().watching([(Work, "gone", "x")], []):
        pass


def test_split_by_phase() -> None:
    """By hand: draws of all activities in one line, what no clock saw in the rest."""
    seconds = {("updates", "SAC"): 4.0, ("updates", "draw"): 1.0, ("ensemble", "draw"): 0.25, ("updates", ""): 0.5}
    seconds |= {("evaluation", "physics"): 3.0, ("evaluation", ""): 1.0}
    found = split(13.0, seconds)
    assert {key: value for key, value in found.items() if value} == {
        "SAC updates": 4.0,
        "evaluation": 4.0,
        "drawing batches": 1.25,
        "the rest": 0.5 + 13.0 - 9.75,
        "evaluation, of it physics": 3.0,
    }


def test_a_slice_counts_what_it_did() -> None:
    """Breaks if a call is not seen, counted for another part, or the slice does not end where it should."""
    configs = configurations(TINY)
    data = {str(config.dataset): random_transitions("halfcheetah", TINY.transitions) for config in configs}
    clock = run_slice(configs, data, TINY, "cpu", 600.0)
    assert clock.calls == COUNTED
    assert set(clock.seconds) == set(clock.calls)
    assert run_slice(configs, data, TINY, "cpu", 0.0).calls["offline", "ensemble updates"] == 1


def test_projection_by_hand() -> None:
    """Breaks if a part is multiplied by the slice's own counts in place of the paper's."""
    rows = projection(configurations(TINY), dict.fromkeys(COUNTED, 6.0), dict.fromkeys(COUNTED, 3))
    assert {(row.stage, row.what): row.count for row in rows} == {
        ("offline", "ensemble updates"): 100_000,
        ("offline", "rollouts"): 1000,
        ("offline", "policy updates"): 1_000_000,
        ("offline", "evaluation steps"): 21 * 10_000,
        ("online", "environment steps"): 100_000,
        ("online", "ensemble updates"): 400_000,
        ("online", "rollouts"): 400,
        ("online", "policy updates"): 20 * (100_000 - 249),  # from the first rollout on
        ("online", "evaluation steps"): (1 + 40 + 90) * 10_000,  # J_0, every 250 steps up to 10 000, then every 1000
    }
    assert all(row.total == pytest.approx(2.0 * row.count) for row in rows)
    assert len(column()) == 60


def test_makespan_by_hand() -> None:
    """Breaks if a job is lost, a device is never used or short jobs go first."""
    assert makespan([2, 2, 2, 3, 3], 2) == 7  # 3 + 2 + 2 beside 3 + 2
    assert makespan([5.0], 16) == 5.0


def test_every_call_has_a_process_of_its_own() -> None:
    """Peak memory would else be that of the largest case so far; a killed process must not end the report."""
    assert len({bench.in_own_process("cpu", os.getpid) for _ in range(2)} | {os.getpid()}) == 3
    with pytest.raises(bench.LeftOut, match="was killed"):
        bench.in_own_process("cpu", os._exit, 1)


def test_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a group of cases, a phase, a part or a panel is lost on the way to the page."""
    first = {case.group: case for case in reversed([*all_cases("cpu", (1,), (8,), ("float32",))])}
    monkeypatch.setattr(bench, "all_cases", lambda *_: first.values())
    monkeypatch.setattr(bench, "in_own_process", lambda device, function, *arguments: function(*arguments))  # quicker
    bench.main(tmp_path, "cpu", 0.002, (1,), (8,), ("float32",), 1, 0.004, envs=("pendulum",), matmul_rows=64)
    clock = Clock("cpu")
    clock.seconds["offline", "policy updates"], clock.calls["offline", "policy updates"] = 2.0, 1000
    monkeypatch.setattr(slice, "run_slice", lambda *_: clock)
    slice.main(TINY, tmp_path, "cpu")
    monkeypatch.setattr("moore.studies.estimate.MOMENT", 0.0)
    monkeypatch.setattr(scaling, "MOST_BRANCHES", {"cpu": 4})
    scaling.main(tmp_path, "cpu", (1,), (60,), (10,), (8,), study="where", scale="mini")
    text = {name: (tmp_path / f"{name}.md").read_text() for name in ("bench", "slice", "scaling")}
    rows: dict[str, list[Any]] = {name: json.loads((tmp_path / f"{name}.json").read_text())["rows"] for name in text}
    assert [f"\n## {group[0].upper()}{group[1:]}\n" in text["bench"] for group in UNITS] == [True] * len(UNITS)
    assert [text["bench"].count(f"\n| {phase} | ") for phase in PHASES] == [1] * len(PHASES)
    assert all(row["rate"] > 0 for row in rows["bench"] if "group" in row)
    assert sum(row["seconds"] for row in rows["bench"] if row.get("phase") in PHASES) == pytest.approx(
        next(row["wall"] for row in rows["bench"] if "phase" in row)
    )
    assert "| offline | policy updates | 1,000 | 2.0 | 2.000 |" in text["slice"]
    assert "- offline, rollouts: 1,000 x ? (not reached)" in text["slice"]
    assert [row["panel"] for row in rows["scaling"]] == list(scaling.PANELS)
    assert "## The study where-mini, 40 runs" in text["scaling"]


@pytest.mark.parametrize("main", [bench.main, slice.main, scaling.main])
def test_a_device_that_is_not_there(main: Any) -> None:
    with pytest.raises(UserError, match="--device: 'abacus' is not available here"):
        main(device="abacus")
