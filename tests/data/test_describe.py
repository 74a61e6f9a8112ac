"""What `moore data describe` prints of a dataset beside what is known of D4RL's."""

from dataclasses import replace

import numpy as np

from moore.data.d4rl import D4RL_SETS
from moore.data.describe import describe_dataset
from moore.data.hdf5 import Dataset
from moore.data.ids import D4RL_QUALITIES
from moore.data.make import make_self_dataset
from moore.data.scores import normalized_score
from tests.support.datasets import NONE, TERMINAL, random_dataset


def hopper_set(lengths: list[int]) -> Dataset:
    """Falls after `lengths` rows each, every row rewarded with 2, and three more rows; no states."""
    flags = [flag for length in lengths for flag in [NONE] * (length - 1) + [TERMINAL]] + [NONE] * 3
    dataset = random_dataset("hopper", flags)
    return replace(dataset, reward=np.full(len(flags), 2, np.float32), qpos=None, qvel=None, metadata={})


def lines_of(dataset: Dataset, quality: str | None) -> dict[str, str]:
    """The printed lines by their first word, which comes after two spaces."""
    text = describe_dataset(dataset, "title", quality)
    return {line.split()[0]: line.strip() for line in text.splitlines()[1:]}


def test_d4rl_values_stand_at_the_end_of_the_lines() -> None:
    lines = lines_of(hopper_set([10, 20]), "medium")
    assert lines["rows"] == "rows          33: 2 terminated, 0 truncated [D4RL: about 1000000]"
    assert lines["episodes"] == "episodes      2 whole, 1 cut [D4RL: about 2190]"
    assert lines["return"] == "return        30.0 ± 14.1, from 20.0 to 40.0 [D4RL: 1422.1 ± 379.0]"
    assert lines["score"].startswith(f"score         {normalized_score('hopper', 30.0):.1f} ± 0.4, mean ± std")
    assert lines["score"].endswith("[D4RL: 44.3 ± 11.6]")


def test_what_is_not_known_stays_absent() -> None:
    lines = lines_of(hopper_set([10, 20]), "medium-replay")
    assert lines["return"].endswith("[D4RL: 467.0]")  # no spread
    assert [name for name, line in lines_of(hopper_set([10]), "full-replay").items() if "[D4RL" in line] == ["rows"]
    assert "[D4RL" not in " ".join(lines_of(hopper_set([10]), None).values())
    assert lines_of(hopper_set([]), None)["return"].endswith("none: no whole episode")


def test_a_file_that_does_not_say_its_physics_is_tried_with_all() -> None:
    dataset = make_self_dataset("walker2d", "random", 400)
    assert describe_dataset(dataset, "title").count("replay        physics d4rl, 400 rows") == 1
    assert "physics gymnasium" not in describe_dataset(dataset, "title")
    assert describe_dataset(replace(dataset, metadata={}), "title").count("replay        physics") == 2


def test_table_of_d4rl_sets() -> None:
    assert all(set(sets) == set(D4RL_QUALITIES) for sets in D4RL_SETS.values())
    # HalfCheetah cannot fall: every episode has 1000 rows
    for known in D4RL_SETS["halfcheetah"].values():
        assert known.episodes is None or known.rows == 1000 * known.episodes
    # the scores that these sets are widely quoted by
    quoted = {"halfcheetah": (40.7, 88.1), "hopper": (44.3, 108.5), "walker2d": (62.1, 107.1)}
    for env, scores in quoted.items():
        means = [D4RL_SETS[env][quality].mean or np.nan for quality in ("medium", "expert")]
        assert tuple(round(normalized_score(env, mean), 1) for mean in means) == scores
