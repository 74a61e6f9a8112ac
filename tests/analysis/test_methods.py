"""Studies that compare methods: their looks, what the captions and the table of methods say of their settings."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml

from analysis.io.methods import ORDER, REFERENCES, listed, main_method, ordered
from analysis.io.settings import NOT_OWN, PUBLISHED, budgets, frozen, lookup, text, untrained, values
from analysis.output.facts import methods_table
from analysis.output.notes import notes
from analysis.plots.looks import LOOKS, looks
from moore.algorithm.config import RunConfig, to_mapping
from moore.base.strict import dotted
from moore.studies.identity import run_id
from moore.studies.study import METHODS
from tests.support.method_studies import (
    LOW,
    MEDIUM,
    as_study,
    flat_scores,
    method_manifest,
    method_rows,
    method_study,
    runs_of,
)
from tests.support.studies import Row, flat, full_study, make_study

ALL = list(yaml.safe_load(METHODS.read_text(encoding="utf-8")))
# Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB
DEFICIENCIES = {
    "none": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]


def lab(colour: tuple[float, float, float], deficiency: str) -> npt.NDArray[np.float64]:
    """CIELAB of an sRGB colour as somebody with the deficiency sees it."""
    c = np.array(colour)
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    xyz = np.array(TO_XYZ) @ seen / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_the_order_is_moore_then_baselines_then_references() -> None:
    assert ordered(reversed(ALL)) == [
        "moore", "balanced_replay", "awac", "iql", "cal_ql", "cql_sac", "td3_bc", "rlpd", "wsrl", "mbpo_warm",
        "mopo_naive", "mopo", "sac", "mbpo",
    ]  # fmt: skip
    assert main_method(ALL) == "moore"
    assert main_method([*ALL, "prioritized"]) == "moore"
    assert main_method(["uniform", "prioritized"]) == "prioritized"


def test_every_method_that_ships_has_a_place_and_a_look() -> None:
    assert [name for name in ALL if name not in ORDER] == []
    assert [name for name in ALL if name not in LOOKS] == []


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_methods_with_the_same_line_have_colours_that_everybody_can_tell_apart(deficiency: str) -> None:
    """A CIELAB distance of 10 is seen at a glance; 2.3 is just noticeable."""
    drawn_as = looks(name for name in LOOKS if name != "prioritized")  # MOORe's own look
    for one, other in itertools.combinations(drawn_as, 2):
        if drawn_as[one].line == drawn_as[other].line:
            distance = np.linalg.norm(lab(drawn_as[one].colour, deficiency) - lab(drawn_as[other].colour, deficiency))
            assert distance > 10, (one, other)


def test_lists_read_like_a_sentence() -> None:
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_values_are_written_as_in_yaml() -> None:
    assert text([0.5, 1.0]) == "0.5 or 1"
    assert [text([value]) for value in (True, None, 1e-4, 200000, 250000.0, "mean", [64, 64])] == [
        "true", "null", "0.0001", "200000", "250000", "mean", "[64, 64]",
    ]  # fmt: skip


def by_hand(settings: dict[str, dict[str, Any]]) -> tuple[list[Row], dict[str, Any]]:
    """Rows of one run for each method, on LOW unless it learns from scratch, and their configs."""
    rows: list[Row] = []
    for method in settings:
        rows += flat(method, "none:pendulum" if method in REFERENCES else LOW, [60.0])
    return rows, {row["run"]: settings[row["method"]] for row in rows}


def budget(offline: int, online: int, **more: Any) -> dict[str, Any]:
    return {"offline": {"updates": offline}, "online": {"utd_ratio": online}, **more}


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


def test_equal_budgets_and_unknown_ones_are_not_printed() -> None:
    rows, configs = by_hand({name: budget(3000, 2) for name in ("prioritized", "uniform", "sac")})
    assert budgets(make_study(rows, configs=configs)) == ""
    assert budgets(make_study(full_study(1))) == ""


def test_a_setting_that_depends_on_the_task_shows_all_its_values() -> None:
    rows = flat("moore", LOW, [60.0, 61.0]) + flat("moore", MEDIUM, [60.0])
    rows += flat("awac", LOW, [60.0])
    updates = {row["run"]: 5000 if row["dataset"] == LOW else 200 for row in rows}
    study = make_study(rows, configs={run: budget(count, 1) for run, count in updates.items()})
    assert values(study, "moore", "offline.updates") == [200, 5000]
    assert values(study, "moore", "offline.eval_interval") == []
    assert budgets(study).startswith("Gradient updates, offline + per online step: 200 or 5000 + 1 (moore), 5000 + 1")


def test_published_numbers_are_the_defaults() -> None:
    config = dotted(to_mapping(RunConfig("pendulum", algorithm="balanced_replay")))
    assert {key: config[key] for key in PUBLISHED} == PUBLISHED


def test_notes_tell_who_is_frozen_untrained_or_from_scratch(tmp_path: Path) -> None:
    names = ["moore", "mopo", "rlpd", "mbpo"]
    said = " ".join(notes(method_study(tmp_path, names, 2, flat_scores({name: [60.0, 61.0] for name in names}))))
    assert "mbpo learns from scratch" in said
    assert "rlpd starts with the dataset but untrained" in said
    assert "mopo keeps the offline policy" in said


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
    rollouts = "rollout.length 1, rollout.batch_size 100000, rollout.retain 1"
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
            "agent.actor_lr 0.0001, agent.entropy_backup false, agent.num_actions 4",
        ],
        "mopo": ["moore", "3000", "0", "", "penalty.coef 0.5 or 1"],
        "sac": ["sac", "0", "2", "online", "online.exploration_steps 50"],
        "mbpo": ["moore", "0", "2", "25 % online", f"penalty.coef 0, {rollouts}, online.exploration_steps 50"],
    }
    assert list(rows) == list(ordered(names))


def test_a_manifest_without_configs_has_no_methods_table() -> None:
    assert methods_table(make_study(full_study(1))).rows == ()
