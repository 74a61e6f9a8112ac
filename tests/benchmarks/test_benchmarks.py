"""The benchmarks' clocks, counts and reports at the smallest size; how fast anything is, no test says."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from moore.base.errors import UserError
from moore.studies.estimate import random_transitions
from tests.benchmarks import bench, slice, stages, timing
from tests.benchmarks.cases import UNITS, all_cases
from tests.benchmarks.slice import TINY, column, configurations, limit, projection
from tests.benchmarks.stages import Clock, train

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


def test_a_slice_counts_what_it_did() -> None:
    """Breaks if a call is not seen, counted for another part, or the slice does not end where it should."""
    configs = configurations(TINY)
    data = {str(config.dataset): random_transitions("halfcheetah", TINY.transitions) for config in configs}
    clock = train(configs, data, "cpu", limit(TINY, 600.0))
    assert clock.calls == COUNTED
    assert clock.seconds.keys() == COUNTED.keys()
    assert train(configs, data, "cpu", limit(TINY, 0.0)).calls["offline", "ensemble updates"] == 1


def test_a_clock_gives_every_second_to_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if time between two parts is lost, or counts for the later one."""
    now = iter((0.0, 1.0, 11.0))
    monkeypatch.setattr(stages.time, "perf_counter", lambda: next(now))
    clock = Clock("cpu")
    for part in (("offline", "a"), ("offline", "a"), ("offline", "b"), None):
        clock.turn(part)
    assert clock.seconds == {("offline", "a"): 1.0, ("offline", "b"): 10.0}


def test_projection_by_hand() -> None:
    """Breaks if a part is multiplied by the slice's own counts in place of the paper's."""
    clock = Clock("cpu")
    clock.seconds |= dict.fromkeys(COUNTED, 6.0)
    clock.calls.update(dict.fromkeys(COUNTED, 3))
    rows = projection(configurations(TINY), clock)
    assert {(row["stage"], row["what"]): row["count"] for row in rows} == {
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
    assert all(row["total"] == pytest.approx(2.0 * row["count"]) for row in rows)
    assert len(column()) == 60


def test_every_call_has_a_process_of_its_own() -> None:
    """Peak memory would else be that of the largest case so far; a killed process must not end the report."""
    assert len({bench.in_own_process("cpu", os.getpid) for _ in range(2)} | {os.getpid()}) == 3
    with pytest.raises(bench.LeftOut, match="was killed"):
        bench.in_own_process("cpu", os._exit, 1)


def test_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a group of cases or a part is lost on the way to the page."""
    first = {case.group: case for case in reversed([*all_cases((1,), (8,), ("float32",))])}
    monkeypatch.setattr(bench, "all_cases", lambda *_: first.values())
    monkeypatch.setattr(bench, "in_own_process", lambda device, function, *arguments: function(*arguments))  # quicker
    monkeypatch.setattr(timing, "MATMUL", {"cpu": 64})
    bench.main(tmp_path, "cpu", 0.002, (1,), (8,), ("float32",), 1)
    clock = Clock("cpu")
    clock.seconds["offline", "policy updates"], clock.calls["offline", "policy updates"] = 2.0, 1000
    monkeypatch.setattr(slice, "train", lambda *_: clock)
    slice.main(TINY, tmp_path, "cpu")
    text = {name: (tmp_path / f"{name}.md").read_text() for name in ("bench", "slice")}
    rows: dict[str, list[Any]] = {name: json.loads((tmp_path / f"{name}.json").read_text())["rows"] for name in text}
    assert [f"\n## {group[0].upper()}{group[1:]}\n" in text["bench"] for group in UNITS] == [True] * len(UNITS)
    assert all(row["rate"] > 0 for row in rows["bench"])
    assert "| offline | policy updates | 1,000 | 2.0 | 2.000 | 0.00 | 1,000,000 | 33 min |" in text["slice"]
    assert "| offline | rollouts | not reached |  |  |  | 1,000 | ? |" in text["slice"]


@pytest.mark.parametrize("main", [bench.main, slice.main])
def test_a_device_that_is_not_there(main: Any) -> None:
    with pytest.raises(UserError, match="--device: 'abacus' is not available here"):
        main(device="abacus")
