"""What methods were given, and their scores at equal arithmetic, against the definition written out."""

from typing import Any

import pytest

from analysis.io.rows import SCORE, Results
from analysis.output.facts import budgets_table
from analysis.stats.compare import scores_at_equal_arithmetic
from analysis.stats.intervals import Interval
from analysis.stats.transfer import summarise
from tests.support.synthetic_studies import small

ONLINE, OFFLINE = {"moore": 4.0, "awac": 1.0, "mopo": 1e-6, "sac": 2.0}, 3.0


def known() -> Results:
    """Make a study whose manifest says what its runs computed."""
    settings = {"moore": {"agent.num_critics": 2}, "awac": {"agent.num_critics": 2, "agent.num_agents": 5}}
    settings |= {"mopo": {"online.utd_ratio": 0}}
    given: dict[str, Any] = {"methods": tuple(ONLINE), "seeds": 2, "settings": settings}
    study = small(**given)
    runs = study.owners[study.owners["phase"] == "online"].to_dict("records")
    tflop = {run["run"]: ONLINE[run["method"]] * (1 + run["seed"] / 10) for run in runs}
    tflop |= dict.fromkeys(study.manifest["offline_runs"].values(), OFFLINE)
    return small(**given, run_tflop=tflop, run_cpu_seconds=dict.fromkeys(tflop, 60.0))


def test_scores_at_equal_arithmetic_are_those_of_the_definition() -> None:
    """Breaks if a method that learns nothing is the cheapest, or a run gets more steps than its arithmetic allows."""
    study = known()
    runs = summarise(study)
    found = scores_at_equal_arithmetic(study)
    least = 1.05  # AWAC's mean over its two seeds
    for run, score in zip(runs.to_dict("records"), found, strict=True):
        share = min(1.0, least / (ONLINE[run["method"]] * (1 + run["seed"] / 10)))
        rows = study.rows[(study.rows["run"] == run["run"]) & (study.rows["metric"] == SCORE)]
        curve = dict(zip(rows["env_steps"], rows["value"], strict=True))
        at = share * study.online_steps
        below, above = max(x for x in curve if x <= at), min(x for x in curve if x >= at)
        part = 0.0 if above == below else (at - below) / (above - below)
        assert score == pytest.approx(curve[below] + part * (curve[above] - curve[below]))


def test_a_table_of_budgets() -> None:
    """Breaks if stages are mixed up, a minute is not 60 s, or the last column stays where arithmetic is equal."""
    table = budgets_table(known())
    rows = {heads[0]: [cell.parts[0][1] if cell.parts else None for cell in cells] for heads, cells in table.rows}
    assert [rows[name][1] for name in ("moore", "awac", "sac")] == ["2", "5 of 2", None]  # not said: not guessed
    assert rows["moore"][2:5] == ["3", "4.2", "2"]
    assert rows["sac"][2:5] == ["0", "2.1", "1"]  # no offline stage
    finals = summarise(known())
    final = rows["moore"][5]
    assert isinstance(final, Interval)
    assert final.mean == pytest.approx(finals[finals["method"] == "moore"]["final"].mean())
    assert "at equal arithmetic" in table.columns
    assert not budgets_table(small()).rows  # its manifest says nothing
    alike = small(run_tflop=dict.fromkeys(summarise(small())["run"], 1.0))
    assert "at equal arithmetic" not in budgets_table(alike).columns
    assert "CPU min" not in budgets_table(alike).columns
