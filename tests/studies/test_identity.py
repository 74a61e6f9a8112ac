"""A run's identity: what differs from the defaults, and the source of what comes from outside."""

import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from moore.algorithm.config import RunConfig, differences, from_mapping, to_mapping
from moore.algorithm.penalty import Schedule
from moore.base.errors import UserError
from moore.studies.identity import identity, offline_config, offline_key, offline_run_id, run_id

BASE = {"env": "pendulum", "dataset": "self:pendulum-low", "agent": {"actor_lr": 1e-3}, "sampling": {"decay_rate": 4.0}}


def changed(**values: object) -> RunConfig:
    return from_mapping({**BASE, **values}, "test")


def test_only_differences_count() -> None:
    """Breaks if a default is part of the identity: a new key with a default would train everything again."""
    config = changed()
    assert differences(config) == {
        "env": "pendulum",
        "physics": "gymnasium",
        "algorithm": "moore",
        "dataset": "self:pendulum-low",
        "agent.actor_lr": 1e-3,
        "sampling.decay_rate": 4.0,
    }
    spelled_out = from_mapping(to_mapping(config), "test")
    assert run_id(spelled_out) == run_id(config)


def test_every_change_is_another_run() -> None:
    """Breaks if two different runs share a folder."""
    changes: list[dict[str, Any]] = [{}, {"seed": 1}, {"agent": {"actor_lr": 2e-3}}, {"sampling": {"decay_rate": 2.0}}]
    changes += [{"method": "other"}, {"penalty": {"coef": 0.5}}, {"algorithm": "sac"}]
    assert len({run_id(changed(**change)) for change in changes}) == len(changes)


def test_the_offline_stage_does_not_depend_on_the_online_one() -> None:
    """Breaks if variants of the online stage are pre-trained apart, or a change of the offline stage is missed."""
    same: list[dict[str, Any]] = [
        {"sampling": {"decay_rate": 1.0}},
        {"online": {"utd_ratio": 3, "epochs": 9, "retrain_interval": 9, "rollout_length": 3, "real_ratio": 0.5}},
        *({"penalty": {"schedule": name, "online_factor": 2.0}} for name in get_args(Schedule)),
        {"dynamics": {"online_max_updates": 5}},
        {"density_ratio": {"lr": 0.1}},
        {"agent": {"actor_lr": 1e-3, "online_actor_interval": 4}},
        {"method": "variant"},
    ]
    other: list[dict[str, Any]] = [
        *({"penalty": change} for change in ({"coef": 2.0}, {"uncertainty": "ensemble_std"}, {"rescale": True})),
        {"agent": {"actor_lr": 2e-3}},
        {"rollout": {"length": 4}},
        {"real_ratio": 0.5},
        {"offline": {"updates": 7}},
        {"seed": 3},
    ]
    stage, key = offline_run_id(changed()), offline_key(changed(), "data")
    for change in same:
        assert offline_run_id(changed(**change)) == stage, change
        assert offline_key(changed(**change), "data") == key, change
    for change in other:
        assert offline_run_id(changed(**change)) != stage, change
        assert offline_key(changed(**change), "data") != key, change
    assert offline_key(changed(), "other data") != key
    assert offline_config(offline_config(changed())) == offline_config(changed())


def test_a_plugins_source_is_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a changed strategy goes on under the old run's name, or one that cannot be found is no error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = "from moore.algorithm.sampling import Mixture\ndef mine(config, now):\n    return Mixture(0.3)\n"
    (tmp_path / "plugin_a.py").write_text(source)
    config = changed(sampling={"model_batches": "plugin_a:mine"})
    before = run_id(config)
    assert [*identity(config)["plugins"]] == ["plugin_a:mine"]
    (tmp_path / "plugin_a.py").write_text(source + "\n")
    assert run_id(config) != before
    (tmp_path / "broken.py").write_text("def mine(:\n")
    for name in ("broken:mine", "plugin_a:other", "no_such_module:mine", "no such"):
        with pytest.raises(UserError, match="model_batches"):
            changed(sampling={"model_batches": name})
    sys.modules.pop("plugin_a")
