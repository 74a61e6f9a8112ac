"""A reproduction beside the published rows: the same, no difference, a difference, or nothing to compare."""

from typing import Any

import numpy as np
import pytest

from analysis.io.rows import Results
from analysis.stats.agreement import AGREES, DIFFERS, OTHER, SAME, UNTESTED, agreements
from tests.support.studies import LOW, MEDIUM, flat, make_study

LEVELS = [50.0, 52.0, 48.0, 51.0, 49.0]


def word(ours: Results, theirs: Results, dataset: str = LOW) -> str:
    return agreements(ours, theirs)[dataset, "moore"].word


def study(levels: list[float], **settings: Any) -> Results:
    rows = flat("moore", LOW, levels)
    configs = {
        f"moore/{LOW}/{seed}": {"method": "moore", "env": "pendulum", "dataset": LOW, "seed": seed, **settings}
        for seed in range(len(levels))
    }
    return make_study(rows, configs=configs)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (LEVELS, SAME),
        ([50.0, 52.0, 48.0, 51.0, np.nextafter(49.0, 50.0)], AGREES),
        ([51.0, 51.0, 49.0, 50.0, 49.5], AGREES),
        ([level + 3 + seed / 10 for seed, level in enumerate(LEVELS)], DIFFERS),
        ([level + 3 for level in LEVELS], DIFFERS),  # without spread
        ([51.0], UNTESTED),
        ([50.0, 52.0], SAME),  # of the seeds that both ran
    ],
)
def test_the_word_for_a_cell(levels: list[float], expected: str) -> None:
    assert word(study(levels), study(LEVELS)) == expected
    assert word(study(LEVELS), study(levels)) == expected


def test_seeds_are_paired() -> None:
    """Breaks if the seeds' own spread, of 40 points, hides a difference of 2."""
    theirs = [10.0, 90.0, 30.0, 70.0, 50.0]
    ours = [level + 2 + seed / 100 for seed, level in enumerate(theirs)]
    found = agreements(study(ours), study(theirs))[LOW, "moore"]
    assert found.word == DIFFERS
    assert found.published == 50.0
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(2.02)


def test_other_settings_are_not_compared() -> None:
    """Breaks if another learning rate counts as a failed reproduction, a new default as another setting, or neither."""
    plain = study(LEVELS, agent={"lr": 1.0})
    assert word(study(LEVELS, agent={"lr": 1.0}), study(LEVELS, agent={"lr": 2.0})) == OTHER
    newer = study(LEVELS, agent={"lr": 1.0, "new": 3})
    for default, expected in ((3, SAME), (4, OTHER)):
        newer.manifest["defaults"] = {"moore": {"agent": {"lr": 9.0, "new": default}}}  # type: ignore[index]
        assert word(newer, plain) == word(plain, newer) == expected
    for algorithm, expected in (("sac", SAME), ("moore", OTHER)):  # SAC has no model
        ours, theirs = (study(LEVELS, algorithm=algorithm, dynamics={"lr": rate}) for rate in (1.0, 2.0))
        assert word(ours, theirs) == expected


def test_what_only_one_has_is_left_out() -> None:
    ours = make_study(flat("moore", LOW, LEVELS) + flat("awac", MEDIUM, LEVELS))
    assert set(agreements(ours, make_study(flat("moore", LOW, LEVELS)))) == {(LOW, "moore")}
