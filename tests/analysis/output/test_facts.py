"""Tables besides the results: methods, published numbers, origin and cost, behaviour policies."""

import json
from pathlib import Path

import pytest
import yaml

from analysis.io.methods import ordered
from analysis.io.rows import Results, load_study
from analysis.io.settings import NOT_OWN, PUBLISHED, lookup, text
from analysis.output.facts import (
    BEHAVIOURS,
    behaviours_table,
    costs_table,
    methods_table,
    provenance_table,
    published_table,
)
from analysis.output.render import MISSING, to_csv, to_markdown
from analysis.output.report import tables
from analysis.output.tables import Table
from moore.base.strict import dotted
from moore.studies.identity import run_id
from moore.studies.study import METHODS
from tests.support.method_studies import ALL, as_study, flat_scores, method_manifest, method_rows, method_study, runs_of
from tests.support.studies import LOW, MEDIUM, Row, flat, full_study, make_study, write_study

REPLAY = "d4rl:halfcheetah-medium-replay-v2"


def cells(table: Table, source: str, method: str) -> list[str]:
    """The Markdown cells of one row."""
    (line,) = [line for line in to_markdown(table).splitlines() if line.startswith(f"| {source} | {method} |")]
    return line.strip("| ").split(" | ")[2:]


def two_tasks(*more: Row) -> Table:
    rows = flat("moore", REPLAY, [60.0, 62.0]) + flat("moore", "d4rl:walker2d-random-v2", [1.0, 3.0])
    return published_table(make_study([*rows, *more]))


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    folder = tmp_path_factory.mktemp("results")
    rows = [row for row in full_study(3) if row["dataset"] != MEDIUM]
    first = write_study(folder / "toy", rows, run_cpu_seconds={"prioritized/self:pendulum-low/0": 12.34})
    second = write_study(folder / "second", flat("<b>&\"'", LOW, [1.0, 2.0]), machine="4 cores")
    return [load_study(first), load_study(second)]


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
    study = as_study(method_rows(runs, lambda run: [1.0] * 14), method_manifest(runs))
    changes = yaml.safe_load(METHODS.read_text(encoding="utf-8"))
    # what the scale of these studies sets itself: for single methods, by task, and in a method's own section
    by_scale = {"online.exploration_steps", "online.warmup_steps", "penalty.coef", *PUBLISHED}
    for heads, cells in methods_table(study).rows:
        (method,) = heads
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
    rollouts = "rollout.length 1, rollout.batch_size 100000, rollout.retain 4"
    study = method_study(tmp_path, names, 2, flat_scores({name: [60.0, 61.0] for name in names}))
    rows = {heads[0]: [str(cell.parts[0][1]) if cell.parts else "" for cell in cells] for heads, cells in
            methods_table(study).rows}  # fmt: skip
    assert rows == {
        "moore": ["moore", "3000", "2", "25 % prioritized", "penalty.coef 0.5 or 1"],
        "cql_sac": [
            "cql",
            "3000",
            "1",
            "uniform",
            "agent.actor_lr 0.0001, agent.init orthogonal, agent.entropy_backup false, agent.num_actions 4,"
            " agent.log_std_offset -1, agent.joint_step true",
        ],
        "mopo": ["moore", "3000", "0", "", "penalty.coef 0.5 or 1"],
        "sac": ["sac", "0", "2", "online", "online.exploration_steps 50"],
        "mbpo": ["moore", "0", "2", "25 % online", f"penalty.coef 0, {rollouts}, online.exploration_steps 50"],
    }
    assert list(rows) == list(ordered(names))


def test_returns_are_converted_with_the_reference_returns_and_scores_are_printed_as_they_are() -> None:
    table = two_tasks()
    assert table.columns == (REPLAY, "d4rl:walker2d-random-v2")
    # D4RL's reference returns: random and expert
    cheetah = [100 * (x + 280.178953) / (12135 + 280.178953) for x in (6250, 11400)]
    walker = [100 * (x - 1.629008) / (4592.3 - 1.629008) for x in (100, 1000)]
    expected = [f"{low:.0f} → {high:.0f}" for low, high in (cheetah, walker)]
    assert cells(table, "MOORe paper", "MOORe") == expected
    assert cells(table, "MOORe paper", "MBPO from scratch")[1] == f"{100 * (2500 - 1.629008) / 4590.670992:.0f}"
    assert cells(table, "OPT paper", "Off2On") == ["97.7 ± 1.7", "29.4 ± 2.9"]
    assert cells(table, "OfflineRL-Kit", "MOPO") == ["72.1 ± 3.8", MISSING]
    assert "OfflineRL-Kit,MOPO,d4rl:halfcheetah-medium-replay-v2,offline,,,,,0,72.1 ± 3.8" in to_csv(table)
    assert "OPT paper,IQL,d4rl:walker2d-random-v2,online,,,,,0,6.6 ± 1.0" in to_csv(table)
    assert cells(table, "this study", "moore")[0].startswith("50.0 ± 0.0 → 61.0 ± ")
    assert "**" not in to_markdown(table)


def test_tasks_are_matched_by_environment_and_quality_of_every_source() -> None:
    for dataset in ("self:hopper-medium", "minari:mujoco/hopper/medium-v0", "d4rl:hopper-medium-v2"):
        table = published_table(make_study(flat("moore", dataset, [1.0, 2.0])))
        assert cells(table, "OPT paper", "IQL") == ["63.2 ± 3.5"]
    ours = published_table(make_study(flat("moore", "self:hopper-medium", [1.0, 2.0]))).notes[0]
    assert "self-made data, not D4RL's files" in ours


def test_a_study_of_other_tasks_has_no_such_table() -> None:
    for dataset in (MEDIUM, "d4rl:hopper-full-replay-v2", "local:hopper:file.hdf5"):
        study = make_study(flat("moore", dataset, [1.0, 2.0]), configs={}, offline_runs={})
        assert published_table(study).rows == ()
        assert "published" not in [table.name for table in tables(study)]
    both = make_study(flat("moore", REPLAY, [1.0, 2.0]) + flat("moore", "d4rl:hopper-expert-v2", [1.0, 2.0]))
    assert published_table(both).columns == (REPLAY,)


def test_origin_and_cost_say_what_the_manifest_has(studies: list[Results]) -> None:
    bare = make_study(full_study(1), **dict.fromkeys(("scale", "date", "cpu_seconds", "git_commit", "command")))
    assert [heads[0] for heads, _ in provenance_table(bare).rows] == ["wall time"]
    facts = {heads[0]: cells[0].parts[0][1] for heads, cells in provenance_table(studies[1]).rows}
    assert facts["machine"] == "4 cores"
    packages = make_study(full_study(1), packages={"torch": "2", "numpy": "3"}, peak_memory_mb=7)
    facts = {heads[0]: cells[0].parts[0][1] for heads, cells in provenance_table(packages).rows}
    assert (facts["packages"], facts["peak memory"]) == ("torch 2, numpy 3", "7 MB")
    rows = {heads: cells for heads, cells in costs_table(studies[0]).rows}
    assert len(rows) == len(studies[0].owners)
    low = LOW
    assert [c.parts[0][1] for c in rows["prioritized", low, "0", "online"]] == ["12.3", "1000", "2000"]
    assert [bool(c.parts) for c in rows["prioritized", low, "1", "online"]] == [False, True, True]
    assert [c.parts[0][1] for c in rows["mopo", low, "0", "offline"][1:]] == ["0", "3000"]
