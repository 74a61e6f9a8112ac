"""Notes name what a scale has other than the paper's, and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.io.rows import Results
from analysis.io.settings import PAPER, deviations
from analysis.output.notes import notes
from moore.base.errors import UserError
from moore.studies.axes import merge
from tests.support.studies import flat, make_study

LOW, MEDIUM = "self:pendulum-low", "self:pendulum-medium"
DEFAULTS = yaml.safe_load(PAPER.read_text(encoding="utf-8"))["defaults"]
SEEDS = len(yaml.safe_load(PAPER.read_text(encoding="utf-8"))["seeds"])


def study(changes: dict[str, Any], seeds: int = SEEDS, other: dict[str, Any] | None = None) -> Results:
    """Runs of MOORe at the paper's scale but for the changes; on a second dataset, but for the other ones."""
    levels = [50.0 + seed for seed in range(seeds)]
    rows = flat("moore", LOW, levels) + flat("moore", MEDIUM, levels) + flat("awac", LOW, levels)
    configs = {f"moore/{LOW}/{seed}": merge(copy.deepcopy(DEFAULTS), changes) for seed in range(seeds)}
    second = changes if other is None else other
    configs |= {f"moore/{MEDIUM}/{seed}": merge(copy.deepcopy(DEFAULTS), second) for seed in range(seeds)}
    configs |= {
        f"awac/{LOW}/{seed}": merge(copy.deepcopy(DEFAULTS), {"online": {"epochs": 3}}) for seed in range(seeds)
    }
    return make_study(rows, configs=configs, offline_runs={})


def test_nothing_is_said_at_the_papers_scale() -> None:
    assert deviations(study({})) == ""
    assert deviations(make_study(flat("moore", LOW, [1.0, 2.0]))) == ""  # a manifest without configs


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset_transitions": 62500}, "N_off 62 500 (1 000 000)"),
        ({"online": {"epoch_steps": 250}}, "S 250 (1 000)"),
        ({"online": {"epochs": 20}}, "T 20 (100)"),
        ({"online": {"utd_ratio": 2}}, "updates per online step 2 (20)"),
        ({"offline": {"updates": 12000}}, "offline updates 12 000 (1 000 000)"),
        ({"agent": {"hidden": [64, 64]}}, "hidden layers [64, 64] ([256, 256])"),
        ({"dataset_transitions": None}, "N_off null (1 000 000)"),
    ],
)
def test_each_setting_is_named_alone_with_the_papers_value(changes: dict[str, Any], words: str) -> None:
    sentence = f"Not at the paper's scale (its value in brackets): {words}."
    assert deviations(study(changes)) == sentence
    assert sentence in notes(study(changes))


def test_several_and_those_that_depend_on_the_task_are_all_there() -> None:
    text = deviations(study({"online": {"epochs": 20, "epoch_steps": 250}}, seeds=3, other={"online": {"epochs": 25}}))
    assert text.endswith(": S 250 or 1 000 (1 000), T 20 or 25 (100), seeds 3 (5).")


def test_a_scale_file_without_a_key_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    del scale["defaults"]["online"]["epochs"]
    file = tmp_path / "paper.yaml"
    file.write_text(yaml.safe_dump(scale), encoding="utf-8")
    monkeypatch.setattr("analysis.io.settings.PAPER", file)
    with pytest.raises(UserError, match=f"{file}: online.epochs: missing"):
        deviations(study({"online": {"epochs": 20}}))
