"""What is said of a study's settings: budgets, and what a scale has other than the paper's."""

import copy
from typing import Any

import yaml

from analysis.io.methods import REFERENCES
from analysis.io.rows import Results
from analysis.io.settings import PAPER, PUBLISHED, budgets, deviations, frozen, untrained
from analysis.output.notes import notes
from moore.algorithm.config import RunConfig, to_mapping
from moore.base.strict import dotted
from moore.studies.axes import merge
from tests.support.studies import LOW, MEDIUM, Row, flat, full_study, make_study

DEFAULTS = yaml.safe_load(PAPER.read_text(encoding="utf-8"))["defaults"]
SEEDS = len(yaml.safe_load(PAPER.read_text(encoding="utf-8"))["seeds"])


def study(changes: dict[str, Any], seeds: int = SEEDS, other: dict[str, Any] | None = None) -> Results:
    """Runs of MOORe at the paper's scale but for the changes; on a second dataset, but for the other ones."""
    rows: list[Row] = []
    configs: dict[str, Any] = {}
    second, short = changes if other is None else other, {"online": {"epochs": 3}}
    for method, dataset, own in (("moore", LOW, changes), ("moore", MEDIUM, second), ("awac", LOW, short)):
        made = flat(method, dataset, [50.0 + seed for seed in range(seeds)])
        configs |= dict.fromkeys((row["run"] for row in made), merge(copy.deepcopy(DEFAULTS), own))
        rows += made
    return make_study(rows, configs=configs, offline_runs={})


def by_hand(settings: dict[str, dict[str, Any]]) -> tuple[list[Row], dict[str, Any]]:
    """Rows of one run for each method, on LOW unless it learns from scratch, and their configs."""
    rows: list[Row] = []
    for method in settings:
        rows += flat(method, "none:pendulum" if method in REFERENCES else LOW, [60.0])
    return rows, {row["run"]: settings[row["method"]] for row in rows}


def budget(offline: int, online: int, **more: Any) -> dict[str, Any]:
    return {"offline": {"updates": offline}, "online": {"utd_ratio": online}, **more}


def test_nothing_is_said_at_the_papers_scale() -> None:
    assert deviations(study({})) == ""
    assert deviations(make_study(flat("moore", LOW, [1.0, 2.0]))) == ""  # a manifest without configs


def test_what_a_scale_has_other_than_the_papers_is_named_with_the_papers_value() -> None:
    changes: dict[str, Any] = {
        "dataset_transitions": 62500,
        "agent": {"hidden": [64, 64]},
        "offline": {"updates": 12000},
    }
    changes["online"] = {"epochs": 20, "epoch_steps": 250, "utd_ratio": 2}
    made = study(changes, seeds=3, other={**changes, "online": {"epochs": 25, "utd_ratio": 2}})  # on another task
    sentence = (
        "Not at the paper's scale (its value in brackets): N_off 62 500 (1 000 000), S 250 or 1 000 (1 000), "
        "T 20 or 25 (100), updates per online step 2 (20), offline updates 12 000 (1 000 000), "
        "hidden layers [64, 64] ([256, 256]), seeds 3 (5)."
    )
    assert deviations(made) == sentence
    assert sentence in notes(made)


def test_budgets_are_one_sentence_where_they_differ() -> None:
    settings = {
        "moore": budget(3000, 2),
        "awac": budget(3000, 1),
        "iql": budget(3000, 1),
        "cql_sac": budget(3000, 1, agent={"num_actions": 4}),
        "balanced_replay": budget(3000, 1, agent={"num_actions": 10, "num_agents": 2}),
        "rlpd": budget(0, 20),
        "mopo": budget(3000, 0),
        "mbpo": budget(3000, 2),  # from scratch, whatever its config says of an offline stage
    }
    settings["balanced_replay"]["online"]["first_epoch_factor"] = 10
    rows, configs = by_hand(settings)
    study = make_study(rows, configs=configs)
    expected = (
        "Gradient updates, offline + per online step: 3000 + 2 (moore), 3000 + 1 (balanced_replay, awac, iql, cql_sac),"
        " 0 + 20 (rlpd), 3000 + 0 (mopo), 0 + 2 (mbpo); 10 times as many in the first epoch of balanced_replay; "
        "agent.num_actions 4, published 10 (cql_sac); agent.num_agents 2, published 5 (balanced_replay)."
    )
    assert budgets(study) == expected
    assert expected in notes(study)
    assert (untrained(study), frozen(study)) == (["rlpd"], ["mopo"])
    said = " ".join(notes(study))
    assert "rlpd starts with the dataset but untrained" in said
    assert "mopo keeps the offline policy" in said


def test_equal_budgets_and_unknown_ones_are_not_printed() -> None:
    rows, configs = by_hand({name: budget(3000, 2) for name in ("prioritized", "uniform", "sac")})
    assert budgets(make_study(rows, configs=configs)) == ""
    assert budgets(make_study(full_study(1))) == ""


def test_published_numbers_are_the_defaults() -> None:
    config = dotted(to_mapping(RunConfig("pendulum", algorithm="balanced_replay")))
    assert {key: config[key] for key in PUBLISHED} == PUBLISHED
