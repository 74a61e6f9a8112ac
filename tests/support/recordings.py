"""Recorded steps beside plain ones, on any device."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moore.algorithm.cohort import Cohort
from moore.networks.graphs import Graphs, Record
from tests.support.agents import three_strategies
from tests.support.state import tensors


def tensors_of(made: Cohort) -> dict[str, Tensor]:
    """What updates change."""
    ensemble = tensors(made.ensemble) if made.ensemble else {}
    agent = {f"agent/{key}": value for key, value in tensors(made.agent).items()}
    return agent | {f"ensemble/{key}": value for key, value in ensemble.items()}


def check_recorded(name: str, stage: str, device: str, recorder: Callable[[Cohort], Record[Any]]) -> None:
    """Train a method twice, its steps called plainly and through recordings; networks and data are equal bit for bit.

    Metrics of several updates in one recording are added up in another order.
    On the way a state is loaded, as by a run that goes on from a checkpoint.
    """
    t, results = int(stage == "online"), []
    for recorded in (False, True):
        made = three_strategies(name, stage, device)
        if recorded:
            made.policy_call = made.model_call = made.rollout_call = Graphs(recorder(made))
        for repeat in range(7):
            if made.ensemble is not None:
                made.train_model(t)
                made.imagine(t)
            made.update_policy(t, 3)  # with an actor that steps at every second one, of two kinds in turns
            if repeat == 2:
                saved = copy.deepcopy(made.state())
            if repeat == 3:
                made.load(saved)
        after = {key: value.detach().clone() for key, value in tensors_of(made).items()}
        results.append((after, made.model_buffer.rows.clone(), made.metrics.flush()))
    (plain, rows, metrics), (others, other_rows, other_metrics) = results
    for key, value in plain.items():
        assert torch.equal(value, others[key]), key
    assert torch.equal(rows, other_rows)
    assert metrics.keys() == other_metrics.keys()
    for key, values in metrics.items():
        np.testing.assert_allclose(values, other_metrics[key], rtol=1e-5, atol=1e-7, err_msg=key)
