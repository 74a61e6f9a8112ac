"""What `moore data check` prints of a dataset before it says what is wrong."""

from dataclasses import replace

import numpy as np

from moore.data.check import check_dataset
from moore.data.describe import describe
from moore.data.hdf5 import Dataset
from moore.data.scores import normalized_score
from tests.support.datasets import NONE, TERMINAL, random_dataset


def hopper_set(lengths: list[int]) -> Dataset:
    """Falls after `lengths` rows each, every row rewarded with 2, and three more rows; no states."""
    flags = [flag for length in lengths for flag in [NONE] * (length - 1) + [TERMINAL]] + [NONE] * 3
    dataset = random_dataset("hopper", flags)
    return replace(dataset, reward=np.full(len(flags), 2, np.float32), qpos=None, qvel=None, metadata={})


def lines_of(dataset: Dataset) -> dict[str, str]:
    """The printed lines by their first word, which comes after two spaces."""
    text = describe(dataset, check_dataset(dataset), "title")
    return {line.split()[0]: line.strip() for line in text.splitlines()[1:]}


def test_sizes_returns_and_scores_are_of_whole_episodes() -> None:
    lines = lines_of(hopper_set([10, 20]))
    assert lines["rows"] == "rows          33: 2 terminated, 0 truncated"
    assert lines["episodes"] == "episodes      2 whole, 1 cut"
    assert lines["return"] == "return        30.0 ± 14.1, from 20.0 to 40.0"
    assert lines["score"].startswith(f"score         {normalized_score('hopper', 30.0):.1f} ± 0.4, mean ± std")
    assert lines_of(hopper_set([10]))["return"] == "return        20.0 ± 0.0, from 20.0 to 20.0"
    assert not {"return", "score"} & set(lines_of(hopper_set([])))
