"""Tables besides the results: methods, published numbers, origin and cost, behaviour policies."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.io.methods import ordered
from analysis.io.rows import SCORE, Results
from analysis.io.settings import NOT_OWN, PUBLISHED, lookup, text
from analysis.output.facts import (
    BEHAVIOURS,
    behaviours_table,
    budgets_table,
    costs_table,
    methods_table,
    provenance_table,
    published_table,
)
from analysis.output.render import MISSING, to_csv, to_markdown
from analysis.output.report import tables
from analysis.stats.compare import scores_at_equal_arithmetic
from analysis.stats.intervals import Interval
from analysis.stats.transfer import summarise
from moore.base.strict import dotted
from moore.studies.identity import run_id
from moore.studies.study import METHODS
from tests.support.method_studies import ALL, flat_scores, method_manifest, method_rows, method_study, runs_of
from tests.support.studies import LOW, MEDIUM, flat, full_study, make_study, markdown
from tests.support.synthetic_studies import small

REPLAY, WALKER = "d4rl:halfcheetah-medium-replay-v2", "d4rl:walker2d-random-v2"


def test_numbers_are_those_of_the_provenance() -> None:
    """Breaks if a row shows another snapshot, or D4RL's level of another quality (halfcheetah: returns 4770, 10656)."""
    provenance = json.loads((BEHAVIOURS / "halfcheetah.json").read_text())
    cells = {
        heads[0]: [str(cell.parts[0][1]) for cell in cells if cell.parts] for heads, cells in behaviours_table().rows
    }
    score = {steps: round(score) for steps, _, score in provenance["curve"]}
    medium = next(steps for steps, _, score in provenance["curve"] if score >= provenance["config"]["medium_score"])
    of_medium, of_expert, steps, _ = cells["halfcheetah"]
    assert of_medium == f"{score[medium]} (41)"
    assert of_expert == f"{max(score.values())} (88)"
    assert int(steps) == max(score)
    assert len(cells["pendulum"]) == 3  # its ladder ends at medium


def test_the_methods_table_hides_nothing_that_a_method_changes(tmp_path: Path) -> None:
    """Against methods.yaml: its keys are in the method's row, unless the value is the default; and nothing else is."""
    runs = runs_of(tmp_path, ALL, 1)
    study = make_study(method_rows(runs, lambda run: [1.0] * 14), **method_manifest(runs))
    changes = yaml.safe_load(METHODS.read_text(encoding="utf-8"))
    # what the scale of these studies sets itself: for single methods, by task, and in a method's own section
    by_scale = {"online.exploration_steps", "online.warmup_steps", "penalty.coef", *PUBLISHED}
    rows = {method: cells for (method,), cells in methods_table(study).rows}
    assert set(rows) == set(ALL)
    for method, cells in rows.items():
        part = cells[-1].parts[0][1] if cells[-1].parts else ""
        shown = dict(setting.split(" ", 1) for setting in str(part).split(", ") if setting)
        config = study.manifest["configs"][next(run_id(run) for run in runs if run.method == method)]
        defaults = dotted(study.manifest["defaults"][config["algorithm"]])
        changed = {key for key in dotted(changes[method]) if key not in NOT_OWN}
        changed = {key for key in changed if lookup(config, key) != defaults[key]}
        assert changed <= set(shown), method
        assert set(shown) <= changed | by_scale, method
        assert {key: shown[key] for key in changed} == {key: text([lookup(config, key)]) for key in changed}


def test_the_methods_table_by_hand(tmp_path: Path) -> None:
    names = ["moore", "mopo", "cql_sac", "mbpo", "sac"]
    study = method_study(tmp_path, names, 2, flat_scores({name: [60.0, 61.0] for name in names}))
    rows = {heads[0]: [str(cell.parts[0][1]) if cell.parts else "" for cell in cells] for heads, cells in
            methods_table(study).rows}  # fmt: skip
    assert {name: cells[:4] for name, cells in rows.items()} == {
        "moore": ["moore", "3000", "2", "25 % prioritized"],
        "cql_sac": ["cql", "3000", "1", "uniform"],
        "mopo": ["moore", "3000", "0", ""],
        "sac": ["sac", "0", "2", "online"],
        "mbpo": ["moore", "0", "2", "25 % online"],
    }
    assert rows["moore"][4] == "penalty.coef 0.5 or 1"
    assert {"agent.actor_lr 0.0001", "agent.entropy_backup false"} < set(rows["cql_sac"][4].split(", "))
    assert list(rows) == list(ordered(names))


def test_returns_are_converted_with_the_reference_returns_and_scores_are_printed_as_they_are() -> None:
    rows = flat("moore", REPLAY, [60.0, 62.0]) + flat("moore", WALKER, [1.0, 3.0])
    table = published_table(make_study(rows))
    assert table.columns == (REPLAY, WALKER)
    # D4RL's reference returns: random and expert
    cheetah = [100 * (x + 280.178953) / (12135 + 280.178953) for x in (6250, 11400)]
    walker = [100 * (x - 1.629008) / (4592.3 - 1.629008) for x in (100, 1000)]
    expected = [f"{low:.0f} → {high:.0f}" for low, high in (cheetah, walker)]
    assert list(markdown(table, "MOORe paper", "MOORe").values()) == expected
    assert markdown(table, "MOORe paper", "MBPO from scratch")[WALKER] == f"{100 * (2500 - 1.629008) / 4590.670992:.0f}"
    assert markdown(table, "OPT paper", "Off2On") == {REPLAY: "97.7 ± 1.7", WALKER: "29.4 ± 2.9"}
    assert markdown(table, "OfflineRL-Kit", "MOPO") == {REPLAY: "72.1 ± 3.8", WALKER: MISSING}
    assert "OfflineRL-Kit,MOPO,d4rl:halfcheetah-medium-replay-v2,offline,,,,,0,72.1 ± 3.8" in to_csv(table)
    assert "OPT paper,IQL,d4rl:walker2d-random-v2,online,,,,,0,6.6 ± 1.0" in to_csv(table)
    assert markdown(table, "this study", "moore")[REPLAY].startswith("50.0 ± 0.0 → 61.0 ± ")
    assert "**" not in to_markdown(table)


def test_tasks_are_matched_by_environment_and_quality_of_every_source() -> None:
    for dataset in ("self:hopper-medium", "minari:mujoco/hopper/medium-v0", "d4rl:hopper-medium-v2"):
        table = published_table(make_study(flat("moore", dataset, [1.0, 2.0])))
        assert markdown(table, "OPT paper", "IQL") == {dataset: "63.2 ± 3.5"}
    ours = published_table(make_study(flat("moore", "self:hopper-medium", [1.0, 2.0]))).notes[0]
    assert "self-made data, not D4RL's files" in ours


def test_a_study_of_other_tasks_has_no_such_table() -> None:
    for dataset in (MEDIUM, "d4rl:hopper-full-replay-v2", "local:hopper:file.hdf5"):
        study = make_study(flat("moore", dataset, [1.0, 2.0]), configs={}, offline_runs={})
        assert published_table(study).rows == ()
        assert "published" not in [table.name for table in tables(study)]
    both = make_study(flat("moore", REPLAY, [1.0, 2.0]) + flat("moore", "d4rl:hopper-expert-v2", [1.0, 2.0]))
    assert published_table(both).columns == (REPLAY,)


def test_origin_and_cost_say_what_the_manifest_has() -> None:
    bare = make_study(full_study(1), **dict.fromkeys(("scale", "date", "cpu_seconds", "git_commit", "command")))
    assert [heads[0] for heads, _ in provenance_table(bare).rows] == ["wall time"]
    costs = {f"prioritized/{LOW}/0": 12.34}
    study = make_study(
        full_study(2), machine="4 cores", packages={"torch": "2", "numpy": "3"}, peak_memory_mb=7, run_cpu_seconds=costs
    )
    facts = {heads[0]: cells[0].parts[0][1] for heads, cells in provenance_table(study).rows}
    assert (facts["machine"], facts["packages"], facts["peak memory"]) == ("4 cores", "torch 2, numpy 3", "7 MB")
    rows = {heads: cells for heads, cells in costs_table(study).rows}
    assert len(rows) == len(study.owners)
    assert [c.parts[0][1] for c in rows["prioritized", LOW, "0", "online"]] == ["12.3", "1000", "2000"]
    assert [bool(c.parts) for c in rows["prioritized", LOW, "1", "online"]] == [False, True, True]
    assert [c.parts[0][1] for c in rows["mopo", LOW, "0", "offline"][1:]] == ["0", "3000"]


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
