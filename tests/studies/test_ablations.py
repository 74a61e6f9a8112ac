"""The shipped studies, methods and scales: they load, keep the schedule's shape, and say nothing that is not read."""

import dataclasses
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from moore.agents.balanced_replay import FIXED
from moore.agents.registry import agents
from moore.algorithm.config import RunConfig, has_key, keys_of, marks_of_algorithm, to_mapping
from moore.algorithm.row_weights import ROW_STRATEGIES
from moore.algorithm.sampling import CONSUMERS, DENSITY_RATIO, SamplingConfig
from moore.base.errors import UserError
from moore.base.strict import MODEL_ONLY, dotted
from moore.studies.identity import offline_key, offline_run_id
from moore.studies.study import ABLATIONS_DIR, load_study
from tests.support.agents import KNOWN, method
from tests.support.core import Stage, make_cohort, run_stage, with_returns


@cache
def untuned(scale: str) -> Path:
    """Copy a shipped scale without what was tuned for single methods, which tests of tests/cli/test_tune.py know."""
    values = yaml.safe_load((ABLATIONS_DIR / "scales" / f"{scale}.yaml").read_text())
    values.pop("tuned", None)
    path = Path(tempfile.mkdtemp()) / f"{scale}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


SCALES = [untuned(path.stem) for path in sorted((ABLATIONS_DIR / "scales").glob("*.yaml"))]
STUDY = ABLATIONS_DIR / "sampling.yaml"
LOW = "self:pendulum-low"
PLUS = {"moore_plus", "mbpo_plus"}  # judged by a study of their own
SWITCHES: dict[str, dict[str, Any]] = {  # of MOORe+, with their values at mini
    "learner": {
        "agent.num_critics": 10,
        "agent.actor_value": "mean",
        "agent.online_actor_interval": 4,
        "online.utd_ratio": 4,
    },
    "model": {"dynamics.layer_norm": True},  # standardised targets are the scale's
    "trust": {
        "rollout.length": 10,
        "rollout.retain": 6,
        "rollout.truncation_quantile": 0.99,
        "penalty.schedule": "zero_online",
    },
    "schedule": {f"sampling.{consumer}": "self_tuned" for consumer in CONSUMERS},
    "start": {"agent.bc_coef": 0.4, "online.critic_first_updates": 500},
}
STRATEGIES = ("prioritized", "uniform", "half_half", "pure_online")  # of that study


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_a_cohort_holds_all_strategies_and_seeds_of_a_dataset(scale: Path) -> None:
    """Breaks if variants differ in more than the strategy that they are called after, runs that could share a process
    are split, or references lose their own cohort.
    """
    study = load_study(STUDY, scale)
    variants = [run for run in study.runs if run.dataset is not None]
    assert {(run.method, run.sampling) for run in variants} == {(s, SamplingConfig(s, s, s)) for s in STRATEGIES}
    rest = {replace(run, method="", sampling=SamplingConfig()) for run in variants}
    assert len(rest) * len(STRATEGIES) == len(variants)
    seeds = len(yaml.safe_load(scale.read_text())["seeds"])
    cohorts = study.cohorts()
    for cohort in cohorts:
        assert len(cohort) == seeds * (len(STRATEGIES) if cohort[0].dataset else 1)
    assert sum(map(len, cohorts)) == len(study.runs)


@cache
def at(scale: Path, study: str = "all-methods") -> list[RunConfig]:
    return load_study(ABLATIONS_DIR / f"{study}.yaml", scale).runs


def missing(values: Mapping[str, Any], config: Mapping[str, Any], prefix: str = "") -> set[str]:
    """The dotted keys whose value a configuration does not have."""
    keys: set[str] = set()
    for key, value in values.items():
        if isinstance(value, Mapping):
            keys |= missing(value, config[key], f"{prefix}{key}.")
        elif config[key] != value:
            keys.add(f"{prefix}{key}")
    return keys


@pytest.mark.parametrize("study", ["main_table", "paper-methods", "all-methods"])
@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_methods_of_a_study(study: str, scale: Path) -> None:
    """Breaks if a method is missing on a task or seed, or is not what methods.yaml and the scale's `methods` say."""
    names = yaml.safe_load((ABLATIONS_DIR / f"{study}.yaml").read_text())["methods"]
    assert set(names) == set(KNOWN) - PLUS if study == "all-methods" else set(names) < set(KNOWN)
    values = yaml.safe_load(scale.read_text())
    runs = at(scale, study)
    chosen = yaml.safe_load((ABLATIONS_DIR / f"{study}.yaml").read_text()).get("tasks", {}).get(scale.stem)
    of_study = [task for task in values["tasks"] if chosen is None or task["dataset"] in chosen]
    for name in names:
        own = [run for run in runs if run.method == name]
        from_scratch = "dataset" in (KNOWN[name] or {})
        tasks = {task["env"] if from_scratch else (task["env"], task["dataset"]) for task in of_study}
        cells = {(run.env if run.dataset is None else (run.env, run.dataset), run.seed) for run in own}
        assert cells == {(task, seed) for task in tasks for seed in values["seeds"]}
        assert len(own) == len(cells)
        adapted = values.get("methods", {}).get(name) or {}
        for run in own:
            config = to_mapping(run)
            assert not missing(adapted, config)
            assert missing(KNOWN[name] or {}, config) <= set(dotted(adapted))


def arms(study: str) -> dict[str, dict[str, Any]]:
    """Return what every variant of a study is on one dataset of mini, by dotted key."""
    runs = load_study(ABLATIONS_DIR / f"{study}.yaml", untuned("mini")).runs
    mine = [run for run in runs if run.dataset == LOW and run.seed == 0]
    return {run.method: dotted(to_mapping(replace(run, method=""))) for run in mine}


def test_arms_of_moore_plus_differ_in_their_switch_only() -> None:
    """Breaks if an arm of a study changes more or less than the switch that it is called after."""
    found, draws = arms("moore_plus"), arms("moore_plus_draws")
    small = {"agent.num_critics": 2, "agent.online_actor_interval": 2, "online.utd_ratio": 2}
    assert found["rlpd_small"] == found["rlpd"] | small
    moore, full = found["moore"], {key: value for switch in SWITCHES.values() for key, value in switch.items()}
    expected = {"moore": moore, "moore_plus": moore | full, "rlpd": found["rlpd"], "rlpd_small": found["rlpd_small"]}
    for name, switch in SWITCHES.items():
        expected[f"plus_{name}"] = moore | switch
        expected[f"minus_{name}"] = moore | {key: value for key, value in full.items() if key not in switch}
    assert found == expected
    rest, plus = expected["minus_schedule"], expected["moore_plus"]
    other = {"moore_plus": plus, "minus_schedule": rest}
    for strategy in STRATEGIES[1:]:
        other[f"plus_{strategy}"] = rest | {f"sampling.{consumer}": strategy for consumer in CONSUMERS}
    for rate in (0.1, 4.0, 10.0):
        other[f"with_schedule-{rate:g}"] = plus | {"sampling.decay_rate": rate}
        other[f"without_schedule-{rate:g}"] = rest | {"sampling.decay_rate": rate}
    assert draws == other


@pytest.mark.parametrize("path", sorted((ABLATIONS_DIR / "tuning").glob("*.yaml")), ids=lambda path: path.stem)
def test_tunings_take_the_same_effort(path: Path) -> None:
    """Breaks if a method is tuned over more or fewer configurations or other seeds, or two of them are one at mini."""
    study = load_study(path, untuned("mini"))
    assert (study.tunes, study.name, study.reference) == (path.stem, f"tune-{path.stem}-mini", "base")
    assert {run.seed for run in study.runs} == {100, 101, 102}
    assert len({run.method for run in study.runs}) == 12
    assert not study.collapsed


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_scale_fits_the_methods(scale: Path) -> None:
    """Breaks if a scale's steps contradict what a method's own schedule means."""
    for run in at(scale):
        online = run.online
        if run.method == "balanced_replay":  # rounds of an epoch; the first share is that of the first epoch
            assert online.update_interval in (0, online.epoch_steps)
        if run.method in ("rlpd", "wsrl", "redq"):  # one update of the actor for each environment step
            assert run.agent.online_actor_interval == online.utd_ratio
        assert max(online.exploration_steps, online.warmup_steps) <= 0.2 * run.online_steps
        assert run.agent.batch_size >= run.agent.num_critics


def test_authors_settings() -> None:
    """Breaks if AWAC is not as CORL's configurations have it, or MBPO's D_model not the size of its authors'."""
    for name, run in ((scale.stem, run) for scale in SCALES for run in at(scale) if run.method == "awac"):
        locomotion = name == "minari" or run.env in ("halfcheetah", "hopper", "walker2d")
        temperature = 0.3333 if locomotion else 0.1
        assert (run.agent.temperature, run.agent.normalize_obs, run.agent.normalize_eps) == (temperature, True, 1e-3)
    for run in (run for run in at(untuned("paper")) if run.method == "mbpo"):
        rollouts_per_epoch = 100_000 * 1000 / 250  # rollout_batch_size * epoch_length / model_train_freq
        pool_size = 1 * run.rollout.length * rollouts_per_epoch  # model_retain_epochs * rollout_length * ...
        assert run.rollout.retain * run.rollout.length * run.rollout.batch_size == pool_size


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_offline_stages_are_shared_where_they_are_the_same(scale: Path) -> None:
    """Breaks if MOORe and its relatives are pre-trained more than once, or methods that differ offline only once."""
    seed = at(scale)[0].seed
    stages: dict[str | None, dict[tuple[str, str], set[str]]] = {}
    for run in at(scale):
        if run.dataset is not None and run.seed == seed:
            stage = offline_key(run, "data"), offline_run_id(run)
            stages.setdefault(run.dataset, {}).setdefault(stage, set()).add(run.method)
    for found in stages.values():
        assert [names for names in found.values() if len(names) > 1] == [{"moore", "mopo", "mopo_naive", "mbpo_warm"}]
        keys, folders = zip(*found, strict=True)
        assert len(set(keys)) == len(set(folders)) == len(found)


def keys_read(config: RunConfig, root: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The dotted keys that the two stages of a run ask for, but for what dataclasses and the checks do with all."""
    sections = {type(getattr(config, field.name)): f"{field.name}." for field in dataclasses.fields(config)}
    kinds = {kind: prefix for kind, prefix in sections.items() if dataclasses.is_dataclass(kind)}
    prefixes = {one: prefix for kind, prefix in kinds.items() for one in kind.__mro__[:-1]} | {RunConfig: ""}
    read: set[str] = set()

    def spy(self: Any, name: str) -> Any:
        caller = sys._getframe(1).f_code
        if caller.co_filename not in ("<string>", dataclasses.__file__) and caller.co_name != "__post_init__":
            read.add(prefixes[type(self)] + name)
        return object.__getattribute__(self, name)

    with monkeypatch.context() as patch:
        for kind in prefixes:
            patch.setattr(kind, "__getattribute__", spy)
        online = make_cohort([config], "online", with_returns(config.env))
        if config.dataset is not None:
            offline = make_cohort([config], "offline", with_returns(config.env))
            run_stage(Stage(offline), root / "offline")
            online.agent.load(offline.agent.state())
            if online.ensemble is not None and offline.ensemble is not None:
                online.ensemble.load(offline.ensemble.state())
        run_stage(Stage(online), root / "online")
    return read


@pytest.mark.parametrize("algorithm", agents())
def test_switches_are_read(algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if methods.yaml or a study may set something that no run of the algorithm ever looks at."""
    methods = [name for name, values in KNOWN.items() if (values or {}).get("algorithm", "moore") == algorithm]
    # its episodes are short
    small: dict[str, Any] = {"env": "inverted_double_pendulum", "agent": {"normalize_obs": True}}
    small |= {"offline": {"updates": 4, "rollout_interval": 2, "eval_interval": 2}, "online": {"epochs": 1}}
    read: set[str] = set()
    for name in methods:
        read |= keys_read(method(name, **small), tmp_path / name, monkeypatch)
    for strategy in (*ROW_STRATEGIES, DENSITY_RATIO) if algorithm == "moore" else ():
        learned = method("moore", **small, sampling={"start_states": strategy})
        read |= keys_read(learned, tmp_path / strategy, monkeypatch)
    for name in methods:
        keys = set(dotted(KNOWN[name] or {}))
        assert all(has_key(algorithm, key) for key in keys)
        assert keys <= read
    marks = marks_of_algorithm(algorithm)
    own = {key for key in keys_of(algorithm) if key.startswith("agent.") or MODEL_ONLY in marks[key]}
    fixed = {f"agent.{key}" for key in FIXED} if algorithm == "balanced_replay" else set()
    assert own - fixed <= read


def test_balanced_replay_has_only_its_part_of_cql() -> None:
    """Breaks if a study may calibrate Balanced Replay's agents, which know no returns, or weigh a term they drop."""
    method("balanced_replay", agent={"cql_coef": 2.0})
    for change in ({"online_cql_coef": 1.0}, {"calibrated": True}, {"num_critics": 4}):
        with pytest.raises(UserError, match=f"agent.{next(iter(change))}"):
            method("balanced_replay", agent=change)
