"""The benchmarks of scaling and of a slice: their arithmetic, their counts, their reports. How fast, no test says."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import scaling as drawn
from analysis.readme import CLOSING, regenerate
from moore.algorithm.config import cohort_key
from moore.algorithm.dynamics import DynamicsConfig
from moore.base.errors import UserError
from moore.cli.options import find_study
from moore.studies import estimate
from moore.studies.estimate import Line, Times, UnitCost, random_transitions
from tests.benchmarks import scaling, slice
from tests.benchmarks.projection import Projected, column, markdown, part_flops, projection
from tests.benchmarks.slice import Clock, Size, configurations, run_slice
from tests.benchmarks.whole_study import makespan, part_rows, study_report

TINY = Size(
    runs=2,
    transitions=300,
    width=8,
    model_width=8,
    branches=10,
    model_updates=3,
    offline_updates=6,
    online_steps=8,
    rollout_interval=2,
    retrain_interval=4,
    retrain_updates=2,
    utd_ratio=2,
    eval_episodes=1,
)
FACTS = {
    "date": "2000-01-01",
    "minutes": 1.0,
    "threads": 1,
    "load_before": 0.0,
    "packages": {"torch": "0"},
    "git_commit": "0" * 40,
    "machine": "a machine",
    "device": "cpu",
    "memory": {"resident": 2**30},
    "size": vars(TINY),
    "full": vars(Size()),
}


def test_the_slice_has_the_paper_scales_shapes() -> None:
    """Breaks if the default slice is not 20 runs of the paper scale in one cohort, or strategies share a dataset."""
    configs = configurations(Size())
    (paper,) = {cohort_key(run) for run in find_study("sampling", "paper").runs if run.dataset == slice.DATASET}
    (key,) = {cohort_key(config) for config in configs}
    for name in ("sac", "rollout", "offline", "online", "eval_episodes", "real_ratio", "physics", "precision"):
        assert getattr(key, name) == getattr(paper, name), name
    for name in set(vars(DynamicsConfig())) - {"patience", "offline_max_updates"}:
        assert getattr(key.dynamics, name) == getattr(paper.dynamics, name), name
    assert len({(config.method, config.seed) for config in configs}) == 20
    assert len({(config.method, config.dataset) for config in configs}) == 4
    assert len({config.dataset for config in configs}) == 4


@pytest.mark.parametrize("runs", [0, 21])
def test_runs_that_the_study_does_not_have(runs: int) -> None:
    with pytest.raises(UserError, match=r"--runs: .* expected 1 to 20"):
        configurations(Size(runs=runs))


def data(size: Size) -> dict[str, Any]:
    names = dict.fromkeys(str(config.dataset) for config in configurations(size))
    return {name: random_transitions("halfcheetah", size.transitions) for name in names}


def test_a_slice_counts_what_it_did() -> None:
    """Breaks if a call is not seen, counted for another part, or the slice does not end where it should."""
    clock = run_slice(configurations(TINY), data(TINY), TINY, "cpu", 600.0)
    assert clock.calls == {
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
    assert set(clock.seconds) == set(clock.calls)
    assert all(seconds > 0 for seconds in clock.seconds.values())


def test_a_slice_without_time_says_what_it_did_not_reach() -> None:
    """Breaks if the limit is not heeded inside of a training, or missing parts are left out of the projection."""
    configs = configurations(TINY)
    clock = run_slice(configs, data(TINY), TINY, "cpu", 0.0)
    assert clock.calls["offline", "ensemble updates"] == 1
    assert clock.calls["offline", "policy updates"] == 0
    text = markdown(FACTS, projection(configs, clock.seconds, clock.calls))
    assert "| offline | policy updates | not reached |" in text
    assert "- offline, policy updates: 1,000,000 x ? (not reached)" in text
    assert "- a cohort: more than " in text


def test_parts_wait_for_the_device_only_where_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if the clock empties a GPU's queue inside of a part, or charges a part for another one's work."""
    now, waits = [0.0], list[float]()

    def synchronize(device: str) -> None:
        waits.append(now[0])
        now[0] += 100.0  # what was still in the queue

    monkeypatch.setattr(slice, "synchronize", synchronize)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    class UnitProcess:
        def first(self) -> None:
            now[0] += 1.0

        def second(self, count: int) -> None:
            now[0] += 10.0

    clock, work = Clock("cpu"), UnitProcess()
    clock.watch(work, "first", ("online", "a"), lambda: 1)
    clock.watch(work, "second", ("online", "b"), lambda count: count)
    for _ in range(3):
        work.first()
    work.second(7)
    work.second(count=5)
    clock.turn(None)
    assert dict(clock.seconds) == {("online", "a"): 103.0, ("online", "b"): 120.0}
    assert dict(clock.calls) == {("online", "a"): 3, ("online", "b"): 12}
    assert len(waits) == 3


def test_projection_by_hand() -> None:
    """Breaks if a part is multiplied by the slice's own counts in place of the paper's."""
    configs = configurations(TINY)
    parts = [(stage, what) for stage in ("offline", "online") for what in estimate.TIMED]
    rows = projection(configs, dict.fromkeys(parts, 6.0), dict.fromkeys(parts, 3))
    found = {(row.stage, row.what): row.count for row in rows}
    assert found == {
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
    text = markdown(FACTS, rows)
    hours = 2.0 * sum(found.values()) / 86_400
    assert f"a cohort: {hours:.1f} days; 30 one after the other: {30 * hours:.1f} days" in text
    assert "Not the paper scale's slice: runs 2, " in text


def test_flops_of_the_paper_scale() -> None:
    """Breaks if a part's arithmetic leaves out the batch, the members or the imagined steps."""
    config = column()[0]
    flops = part_flops(config, "online")
    member = 23 * 200 + 3 * 200 * 200 + 200 * 36
    policy = 17 * 256 + 256 * 256 + 256 * 12
    assert flops["rollouts"] == 50_000 * 5 * 2 * (7 * member + policy)
    assert flops["ensemble updates"] == 7 * 256 * 2 * (3 * member - 23 * 200)
    assert flops["evaluation steps"] == 2 * policy


def test_an_actor_that_steps_less_often_costs_less() -> None:
    """Breaks if the arithmetic of RLPD's updates has an actor's step in each of them, not in one of twenty."""
    config = next(run for run in find_study("main_table", "paper").runs if run.method == "rlpd")
    each = replace(config, online=replace(config.online, actor_interval=1))
    per_update, with_actor = (part_flops(one, "online")["policy updates"] for one in (config, each))
    actor, critic = 2 * (17 * 256 + 256**2 + 256 * 12), 2 * (23 * 256 + 256**2 + 256)
    observations = 2 * 17 * 256  # of the first layers: no gradient is needed for these
    step = 256 * (3 * actor - observations + 10 * (2 * critic - observations))
    assert with_actor - per_update == pytest.approx(step * 19 / 20)


def best(jobs: list[int], devices: int) -> int:
    """The shortest schedule, by trying all."""
    options = itertools.product(range(devices), repeat=len(jobs))
    return min(
        max(sum(job for job, where in zip(jobs, option, strict=True) if where == d) for d in range(devices))
        for option in options
    )


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 3))
def test_makespan_is_near_the_best(jobs: list[int], devices: int) -> None:
    """Breaks if a job is lost, a device is never used or short jobs go first: Graham's bound."""
    found, optimum = makespan(jobs, devices), best(jobs, devices)
    assert optimum <= found <= optimum * (4 / 3 - 1 / (3 * devices)) + 1e-9


def test_makespan_by_hand() -> None:
    assert makespan([3, 3, 2, 2, 2], 2) == 7  # 3 + 2 + 2 beside 3 + 2
    assert makespan([5.0], 16) == 5.0


def test_a_study_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a cohort is left out of a method's lines, or the schedule has other jobs than the cohorts."""
    study = find_study("where", "mini")
    lines = (Line("offline", "policy updates", 5, 100, 2.0), Line("online", "rollouts", 20, 10, 0.5))
    costs = [UnitCost(runs, 5, False, lines) for runs in study.cohorts()]
    assert len(costs) == 2
    rows = part_rows(costs)
    assert [row[1:6] for row in rows] == [
        ("offline", "policy updates", "1,000", "2", "0.56"),
        ("online", "rollouts", "400", "0.5", "0.06"),
    ]
    runs = costs[0].runs[0]
    assert float(rows[0][6]) == pytest.approx(
        sum(500 * part_flops(c.runs[0], "offline")["policy updates"] for c in costs) / 1e15, rel=1e-3
    )
    monkeypatch.setattr("tests.benchmarks.whole_study.study_costs", lambda cohorts, device: iter(costs))
    text, facts = study_report(study, "cpu")
    assert facts["cohorts"] == 2
    assert facts["hours"] == {"1": 2 * 1100 / 3600, "4": 1100 / 3600, "16": 1100 / 3600}
    assert any(line.startswith("- 1 device: 37 min") for line in text)
    assert runs.method in "\n".join(text)


def row(panel: str, **sizes: int) -> dict[str, Any]:
    size = {"runs": 4, "transitions": 100, "branches": 20, "width": 8} | sizes
    seconds = {"policy updates": 1e-3 * size["runs"], "ensemble training": 2e-3, "rollouts": 3e-3, "the rest": 4e-3}
    if panel == "transitions":
        seconds["weights by model_error"] = 0.5
    return {"panel": panel, **size, "seconds": seconds, "memory_run": 2**20, "shared": 3 * 2**20}


def scaling_rows() -> list[dict[str, Any]]:
    sizes = {"runs": (32, 1, 4), "transitions": (100, 1000), "branches": (20, 40), "width": (8, 16)}
    return [row(panel, **{panel: value}) for panel, values in sizes.items() for value in values]


SCALING_FACTS = {
    "base": {"runs": 4, "transitions": 100, "branches": 20, "width": 8},
    "device_name": "a machine",
    "load_before": 0.5,
    "utd_ratio": 20,
    "retrain_interval": 250,
    "retrain_updates": 1000,
    "length": 5,
    "most_branches": 10,
    "precision": "float32",
    "threads": 1,
    "date": "2000-01-01",
    "git_commit": "0" * 40,
    "study": {"name": "x-paper", "runs": 60, "cohorts": 3, "hours": {"1": 30.04, "4": 10.0}},
}


def test_seconds_of_a_step_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a part is left out of a step, or happens more or less often than at the paper's scale."""
    asked = []

    def fixed(config: Any, stage: str, runs: int, device: str, transitions: int, branches: int) -> Times:
        asked.append((config.rollout.batch_size, config.dynamics.hidden, stage, runs, transitions))
        return Times(update=1.0, model_update=10.0, rollout=1000.0, env_step=0.1, evaluation_step=0.01)

    monkeypatch.setattr(scaling, "times", fixed)
    monkeypatch.setattr(scaling, "weights_seconds", lambda config, rows, device: rows)
    point = scaling.Point(2, 500, 30, 16, "float32")
    found = scaling.measured(point, "transitions", "cpu")
    assert asked == [(30, (16,) * 4, "online", 2, 500)]
    assert found["seconds"] == {
        "policy updates": pytest.approx(20.0 * (1 - 249 / 100_000)),
        "ensemble training": pytest.approx(4 * 10.0),  # 1000 updates every 250 steps
        "rollouts": pytest.approx(1000.0 / 250),
        "the rest": pytest.approx(0.1 + 131 * 10 * 1000 * 0.01 / 100_000),
        "weights by model_error": pytest.approx((500 + 50_000) / 250),
    }
    assert "weights by model_error" not in scaling.measured(point, "runs", "cpu")["seconds"]


def test_every_panel_varies_one_number() -> None:
    """Breaks if a panel's values land on another axis."""
    base = scaling.Point(4, 100, 20, 8, "tf32")
    found = list(scaling.points(base, (1, 2), (7,), (9,), (3,)))
    assert found == [
        ("runs", scaling.Point(1, 100, 20, 8, "tf32")),
        ("runs", scaling.Point(2, 100, 20, 8, "tf32")),
        ("transitions", scaling.Point(4, 7, 20, 8, "tf32")),
        ("branches", scaling.Point(4, 100, 9, 8, "tf32")),
        ("width", scaling.Point(4, 100, 20, 3, "tf32")),
    ]


def test_tables_in_order_and_without_the_weights_in_the_sum() -> None:
    """Breaks if rows are not sorted, parts are mixed up, or what `prioritized` does not need is added."""
    lines = drawn.cost_table(scaling_rows(), "runs")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 1", "| 4", "| 32"]
    assert lines[2] == "| 1 | 1 | 2 | 3 | 4 | 10 | 1 | 3 |"
    assert drawn.cost_table(scaling_rows(), "transitions")[2] == "| 100 | 4 | 2 | 3 | 4 | 500 | 13 | 1 | 3 |"
    growth = drawn.growth_table(scaling_rows())
    assert "| 1 → 32 | 1 → 32 ms | 2 → 2 ms | 3 → 3 ms | 4 → 4 ms | 10 → 41 ms | 1 → 1 MiB | 3 → 3 MiB |" in growth[2]
    assert len(growth) == 2 + 4


def test_the_figure_shows_every_point() -> None:
    """Breaks if a panel or a part is not drawn, or unsorted."""
    axes = drawn.figure(scaling_rows()).get_axes()
    assert [axis.get_title() for axis in axes] == list(drawn.PANELS.values())
    lines = {line.get_label(): line for line in axes[0].get_lines()}
    assert set(lines) == {*drawn.PARTS[:4], "all"}
    np.testing.assert_array_equal(lines["policy updates"].get_xdata(), [1, 4, 32])
    np.testing.assert_allclose(np.asarray(lines["all"].get_ydata(), float), [10, 13, 41])
    assert {line.get_label() for line in axes[1].get_lines()} == {*drawn.PARTS, "all"}


def test_readmes_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if the block is not that of the file, or a benchmark that was not run goes unnoticed."""
    folder = tmp_path / drawn.RESULTS
    folder.mkdir(parents=True)
    (folder / "scaling.json").write_text(json.dumps({"facts": SCALING_FACTS, "rows": scaling_rows()}))
    text = drawn.block("scaling", tmp_path)
    assert "![Cost against size](tests/benchmarks/results/scaling.png)" in text
    assert "The study `x-paper`, 60 runs in 3 cohorts: 30.0 h on 1, 10.0 h on 4 such processes" in text
    with pytest.raises(UserError, match=r"scaling-cuda.json: no such benchmark; run `make bench-scaling`"):
        drawn.block("scaling-cuda", tmp_path)
    monkeypatch.setattr("analysis.readme.scaling_block", lambda name, root: f"{name} of {root.name}\n")
    file = f"<!-- generated:benchmark:scaling -->\nold\n{CLOSING}\n"
    for only in (None, {"another"}):  # like the behaviours it is always looked at
        new, stale = regenerate(file, {}, "README.md", only)
        assert stale == ["benchmark:scaling"]
        assert new == f"<!-- generated:benchmark:scaling -->\nscaling of {Path(__file__).parents[2].name}\n{CLOSING}\n"
    with pytest.raises(UserError, match="or benchmark:NAME"):
        regenerate(f"<!-- generated:benchmark -->\n{CLOSING}\n", {}, "README.md")


def test_scaling_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if the command does not write what the block reads, or the tables are lost under the caption."""
    monkeypatch.setattr("moore.studies.estimate.MOMENT", 0.0)
    monkeypatch.setattr(scaling, "weights_seconds", lambda config, rows, device: 1.0)
    monkeypatch.setattr("moore.studies.estimate.times", lambda *_: Times(1.0, 1.0, 1.0, 1.0, 1.0))
    out = tmp_path / drawn.RESULTS
    monkeypatch.setattr(scaling, "MOST_BRANCHES", {"cpu": 10})
    monkeypatch.setattr(scaling, "configuration", lambda point: small_paper_run())
    scaling.main(
        out, runs=(1,), base_runs=1, study="where", scale="mini", transitions=(60,), branches=(10,), widths=(8,)
    )
    text = (out / "scaling.md").read_text()
    assert all(f"## {title}" in text for title in drawn.PANELS.values())
    assert "## The study where-mini, 40 runs" in text
    assert text.strip() in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {f"scaling.{end}" for end in ("md", "json", "png", "pdf")}
    assert drawn.block("scaling", tmp_path).startswith("![")


def small_paper_run() -> Any:
    """The slice's small shapes: the real ones take seconds."""
    return configurations(TINY)[0]


def test_slice_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if the command's own files miss a part or the memory."""
    clock = Clock("cpu")
    for stage, what in [("offline", "policy updates"), ("online", "policy updates")]:
        clock.seconds[stage, what], clock.calls[stage, what] = 2.0, 1000
    monkeypatch.setattr(slice, "run_slice", lambda *_: clock)
    slice.main(TINY, tmp_path, "cpu")
    found = json.loads((tmp_path / "slice.json").read_text())
    assert Projected(**found["rows"][2]).total == pytest.approx(2e-3 * 10**6)
    assert found["facts"]["memory"].keys() == {"resident"}
    assert "| offline | policy updates | 1,000 | 2.0 | 2.000 |" in (tmp_path / "slice.md").read_text()


@pytest.mark.parametrize("main", [slice.main, scaling.main])
def test_a_device_that_is_not_there(main: Any) -> None:
    with pytest.raises(UserError, match="--device: 'abacus' is not available here"):
        main(device="abacus")
