"""What `moore data describe` prints of a dataset beside what is known of D4RL's."""

import re
from dataclasses import replace

import numpy as np
import pytest

from moore.data.describe import D4RL_SETS, describe_dataset, format_description
from moore.data.hdf5 import Dataset
from moore.data.ids import D4RL_QUALITIES
from moore.data.make import make_self_dataset
from moore.data.scores import normalized_score


def hopper_set(lengths: list[int]) -> Dataset:
    """Falls after `lengths` rows each, every row rewarded with 2, and three more rows."""
    rows = sum(lengths) + 3
    terminated = np.zeros(rows, bool)
    terminated[np.cumsum(lengths, dtype=int) - 1] = True
    return Dataset(
        env="hopper",
        obs=np.zeros((rows, 11), np.float32),
        action=np.zeros((rows, 3), np.float32),
        reward=np.full(rows, 2, np.float32),
        terminated=terminated,
        truncated=np.zeros(rows, bool),
    )


def lines_of(dataset: Dataset, quality: str | None) -> dict[str, str]:
    """The printed lines by their first word, which comes after two spaces."""
    text = format_description(describe_dataset(dataset, quality), "title")
    return {line.split()[0]: line.strip() for line in text.splitlines()[1:]}


def test_d4rl_values_stand_at_the_end_of_the_lines() -> None:
    lines = lines_of(hopper_set([10, 20]), "medium")
    assert lines["rows"] == "rows          33: 2 terminated, 0 truncated [D4RL: about 1000000]"
    assert lines["episodes"] == "episodes      2 whole, 1 cut [D4RL: about 2190]"
    assert lines["return"] == "return        30.0 ± 14.1, from 20.0 to 40.0 [D4RL: 1422.1 ± 379.0]"
    assert lines["score"].startswith(f"score         {normalized_score('hopper', 30.0):.1f} ± 0.4, mean ± std")
    assert lines["score"].endswith("[D4RL: 44.3 ± 11.6]")


@pytest.mark.parametrize(
    ("quality", "known"),
    [
        ("medium-replay", {"rows": "about 402000", "episodes": "about 2040", "return": "467.0", "score": "15.0"}),
        ("medium-expert", {"rows": "about 2000000"}),
        (None, {}),
    ],
)
def test_what_is_not_known_stays_absent(quality: str | None, known: dict[str, str]) -> None:
    lines = lines_of(hopper_set([10, 20]), quality)
    found = {name: re.findall(r"\[D4RL: (.*)\]$", line) for name, line in lines.items()}
    assert {name: values[0] for name, values in found.items() if values} == known


def test_a_file_that_does_not_say_its_physics_is_tried_with_all() -> None:
    dataset = make_self_dataset("walker2d", "random", 400)
    assert [replay.physics for replay in describe_dataset(dataset).replay] == ["d4rl"]
    errors = {replay.physics: replay.median for replay in describe_dataset(replace(dataset, metadata={})).replay}
    assert errors["d4rl"] < 1e-6 < 1e-2 < errors["gymnasium"]
    assert "return        none: no whole episode" in format_description(describe_dataset(hopper_set([])), "title")


def test_table_of_d4rl_sets() -> None:
    assert {env: tuple(sorted(sets)) for env, sets in D4RL_SETS.items()} == dict.fromkeys(
        ("halfcheetah", "hopper", "walker2d"), tuple(sorted(D4RL_QUALITIES))
    )
    # HalfCheetah cannot fall: every episode has 1000 rows
    for known in D4RL_SETS["halfcheetah"].values():
        assert known.episodes is None or known.rows == 1000 * known.episodes
    # the scores that these sets are widely quoted by
    scores = {
        (env, quality): round(normalized_score(env, known.mean), 1)
        for env, sets in D4RL_SETS.items()
        for quality, known in sets.items()
        if known.mean is not None and quality in ("medium", "expert")
    }
    assert scores == {
        ("halfcheetah", "medium"): 40.7,
        ("halfcheetah", "expert"): 88.1,
        ("hopper", "medium"): 44.3,
        ("hopper", "expert"): 108.5,
        ("walker2d", "medium"): 62.1,
        ("walker2d", "expert"): 107.1,
    }
