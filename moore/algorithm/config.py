"""The configuration of one run: frozen dataclasses, loaded strictly from YAML mappings."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moore.agents.actor_critic import SACConfig
from moore.agents.awac import AWACConfig
from moore.agents.balanced_replay import BalancedReplayConfig
from moore.agents.cql import CQLConfig
from moore.agents.iql import IQLConfig
from moore.agents.td3_bc import TD3BCConfig
from moore.algorithm.density_ratio import DensityRatioConfig
from moore.algorithm.dynamics import DynamicsConfig
from moore.algorithm.penalty import SCHEDULES, UNCERTAINTIES, PenaltyConfig
from moore.algorithm.rollout import RolloutConfig
from moore.algorithm.sampling import CONSUMERS, DENSITY_RATIO, ROW_STRATEGIES, STRATEGIES, SamplingConfig
from moore.algorithm.switches import ALGORITHMS
from moore.base.errors import UserError
from moore.envs.spec import check_physics, find_spec
from moore.networks.mlp import PRECISIONS


@dataclass(frozen=True)
class OfflineConfig:
    """The offline stage (MOPO, or the method's own); skipped by a run without a dataset."""

    updates: int = 1_000_000  # gradient updates; 0: the online stage starts untrained, with the dataset (RLPD)
    rollout_interval: int = 1000  # updates between two rollouts
    eval_interval: int = 50_000  # updates between two evaluations


@dataclass(frozen=True)
class OnlineConfig:
    """The online stage, Algorithm 1; a method without a model does the same without its model steps."""

    epochs: int = 100  # T
    epoch_steps: int = 1000  # S, environment steps of an epoch
    retrain_interval: int = 250  # phi, environment steps between two ensemble trainings and rollouts
    utd_ratio: int = 20  # N, updates for every environment step; 0: the offline policy is only evaluated
    exploration_steps: int = 0  # uniformly random actions first, without updates: for runs from scratch
    warmup_steps: int = 0  # the offline policy acts first, without updates (WSRL)
    update_interval: int = 1  # environment steps between two rounds of updates; 0: an epoch (Balanced Replay)
    first_epoch_factor: int = 1  # times as many updates in the first epoch (Balanced Replay 10)
    actor_interval: int = 1  # critic updates for one update of actor and temperature (RLPD and WSRL: utd_ratio)
    rollout_length: int | None = None  # H of this stage; None: rollout.length
    real_ratio: float | None = None  # share of real transitions in this stage; None: the run's real_ratio


COUNT, NUMBER, SHARE = "1 or more", "a finite number above 0", "a number from 0 to 1"
FROM_ZERO, ANY_COUNT = "a finite number, 0 or more", "0 or more"
ACCEPTS: dict[str, Callable[[float], bool]] = {
    COUNT: lambda x: x >= 1,
    NUMBER: lambda x: 0 < x < math.inf,
    SHARE: lambda x: 0 <= x <= 1,
    FROM_ZERO: lambda x: 0 <= x < math.inf,
    ANY_COUNT: lambda x: x >= 0,
}
RANGES: dict[str, dict[str, str]] = {  # section -> key -> what is accepted; a tuple is checked item by item
    "": {"seed": ANY_COUNT, "real_ratio": SHARE, "eval_episodes": COUNT, "dataset_transitions": COUNT},
    "sac": {
        "hidden": COUNT,
        "actor_lr": NUMBER,
        "critic_lr": NUMBER,
        "alpha_lr": NUMBER,
        "gamma": SHARE,
        "tau": SHARE,
        "batch_size": COUNT,
        "init_alpha": NUMBER,
        "num_critics": COUNT,
        "target_critics": COUNT,
    },
    "awac": {"temperature": NUMBER, "max_weight": NUMBER},
    "iql": {"expectile": SHARE, "temperature": NUMBER, "max_weight": NUMBER, "value_lr": NUMBER},
    "cql": {"offline_coef": FROM_ZERO, "online_coef": FROM_ZERO, "num_actions": COUNT},
    "td3_bc": {
        "q_weight": FROM_ZERO,
        "policy_delay": COUNT,
        "target_noise": FROM_ZERO,
        "target_noise_clip": FROM_ZERO,
        "exploration_noise": FROM_ZERO,
    },
    "balanced_replay": {"num_agents": COUNT},
    "density_ratio": {
        "hidden": COUNT,
        "lr": NUMBER,
        "batch_size": COUNT,
        "temperature": NUMBER,
        "first_share": SHARE,
        "model_updates": COUNT,
    },
    "dynamics": {
        "ensemble_size": COUNT,
        "hidden": COUNT,
        "weight_decay": FROM_ZERO,
        "lr": NUMBER,
        "batch_size": COUNT,
        "max_holdout": COUNT,
        "epoch_updates": COUNT,
        "patience": ANY_COUNT,
        "min_improvement": SHARE,
        "offline_max_updates": COUNT,
        "online_max_updates": ANY_COUNT,
    },
    "penalty": {"coef": FROM_ZERO, "online_factor": FROM_ZERO},
    "rollout": {"length": COUNT, "batch_size": COUNT, "retain": COUNT},
    "sampling": {
        "decay_rate": NUMBER,
        "priority_exponent": FROM_ZERO,
        "online_ratio": SHARE,
        "anneal_start": SHARE,
        "anneal_end": SHARE,
        "anneal_epochs": COUNT,
        "fresh_share": SHARE,
        "fresh_window": SHARE,
        "on_policy_temperature": NUMBER,
        "return_base": NUMBER,
        "error_exponent": FROM_ZERO,
    },
    "offline": {"updates": ANY_COUNT, "rollout_interval": COUNT, "eval_interval": COUNT},
    "online": {
        "epochs": COUNT,
        "epoch_steps": COUNT,
        "retrain_interval": COUNT,
        "utd_ratio": ANY_COUNT,
        "exploration_steps": ANY_COUNT,
        "warmup_steps": ANY_COUNT,
        "update_interval": ANY_COUNT,
        "first_epoch_factor": COUNT,
        "actor_interval": COUNT,
        "rollout_length": COUNT,
        "real_ratio": SHARE,
    },
}


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines one run."""

    env: str
    dataset: str | None = None  # None: from scratch, nothing but the environment
    dataset_transitions: int | None = None  # size: self-made sets are made so, of files so many are drawn; None: all
    keep_timeouts: bool = False  # the stored next observations; False: the rule of d4rl.qlearning_dataset
    physics: str = "gymnasium"
    seed: int = 0
    method: str = "moore"  # the label in rows and tables
    algorithm: str = "sac"  # who learns: SAC (MOORe, MOPO, MBPO, RLPD and SAC itself) or a baseline's agent
    real_ratio: float = 0.05  # share of real transitions in SAC's batches; 1 needs no model
    eval_episodes: int = 10
    precision: str = "float32"  # of the networks' products, see moore/networks/mlp.py; not in the paper
    sac: SACConfig = field(default_factory=SACConfig)
    awac: AWACConfig = field(default_factory=AWACConfig)
    iql: IQLConfig = field(default_factory=IQLConfig)
    cql: CQLConfig = field(default_factory=CQLConfig)
    td3_bc: TD3BCConfig = field(default_factory=TD3BCConfig)
    balanced_replay: BalancedReplayConfig = field(default_factory=BalancedReplayConfig)
    density_ratio: DensityRatioConfig = field(default_factory=DensityRatioConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    penalty: PenaltyConfig = field(default_factory=PenaltyConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    offline: OfflineConfig = field(default_factory=OfflineConfig)
    online: OnlineConfig = field(default_factory=OnlineConfig)

    def __post_init__(self) -> None:
        check_physics(find_spec(self.env), self.physics)
        check_choice("algorithm", self.algorithm, tuple(ALGORITHMS))
        for consumer in CONSUMERS:
            learned = ROW_STRATEGIES if self.uses_model else ()  # their weights are refreshed with the model
            accepted_here = (*STRATEGIES, *learned, DENSITY_RATIO)
            check_choice(f"sampling.{consumer}", getattr(self.sampling, consumer), accepted_here)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("sac.actor_value", self.sac.actor_value, ("min", "mean"))
        check_choice("penalty.uncertainty", self.penalty.uncertainty, tuple(UNCERTAINTIES))
        check_choice("penalty.schedule", self.penalty.schedule, SCHEDULES)
        for section, keys in RANGES.items():
            for key, accepted in keys.items():
                value = getattr(getattr(self, section) if section else self, key)
                for item in value if isinstance(value, tuple) else (value,):
                    _check(item is None or ACCEPTS[accepted](item), f"{section}.{key}".lstrip("."), value, accepted)
        dynamics, online = self.dynamics, self.online
        _check(0 < dynamics.holdout_ratio <= 0.5, "dynamics.holdout_ratio", dynamics.holdout_ratio, "a share up to 0.5")
        members = f"1 to ensemble_size = {dynamics.ensemble_size}"
        _check(1 <= dynamics.num_elites <= dynamics.ensemble_size, "dynamics.num_elites", dynamics.num_elites, members)
        layers = len(dynamics.hidden) + 1
        per_layer = f"{layers} numbers, one for each layer"
        _check(len(dynamics.weight_decay) == layers, "dynamics.weight_decay", dynamics.weight_decay, per_layer)
        phi, steps = online.retrain_interval, online.epoch_steps
        _check(phi <= steps or not self.uses_model, "online.retrain_interval", phi, f"1 to epoch_steps = {steps}")
        budget = f"at most the {self.online_steps} online steps"
        for key in ("exploration_steps", "warmup_steps"):
            _check(getattr(online, key) <= self.online_steps, f"online.{key}", getattr(online, key), budget)
        for key in ("rollout_length", "real_ratio"):
            _check(
                self.uses_model or getattr(online, key) is None, f"online.{key}", getattr(online, key), "null: no model"
            )
        interval = online.update_interval
        _check(interval == 0 or steps % interval == 0, "online.update_interval", interval, f"0 or a divisor of {steps}")
        critics = f"1 to num_critics = {self.sac.num_critics}"
        _check(self.sac.target_critics <= self.sac.num_critics, "sac.target_critics", self.sac.target_critics, critics)
        if self.sac.target_critics < self.sac.num_critics:  # their choice reads one noise number for each critic
            most = self.sac.batch_size * find_spec(self.env).action_dim
            _check(self.sac.num_critics <= most, "sac.num_critics", self.sac.num_critics, f"at most {most}")
        if self.dataset is None:  # nothing to weigh against the online data
            for consumer in CONSUMERS:
                strategy = getattr(self.sampling, consumer)
                others = f"one of {', '.join(STRATEGIES)} in a run from scratch"
                _check(strategy in STRATEGIES, f"sampling.{consumer}", strategy, others)
        if self.uses_density_ratio:
            share = self.density_ratio.first_share
            _check(0 < share < 1, "density_ratio.first_share", share, "a share above 0 and below 1")

    @property
    def online_steps(self) -> int:
        """Environment steps of the online stage."""
        return self.online.epochs * self.online.epoch_steps

    @property
    def uses_model(self) -> bool:
        """False for a model-free run, whose batches are all real."""
        return self.algorithm == "sac" and self.real_ratio < 1

    @property
    def uses_density_ratio(self) -> bool:
        """Whether some consumer draws by the learned density ratio."""
        consumers = CONSUMERS if self.uses_model else ("real_batches",)
        return DENSITY_RATIO in {getattr(self.sampling, consumer) for consumer in consumers}

    @property
    def reads_returns(self) -> bool:
        """Whether the critics are calibrated with the data's returns (Cal-QL)."""
        return self.algorithm == "cql" and self.cql.calibrated

    def actor_interval(self, stage: str) -> int:
        """Critic updates for one update of the actor in a stage ("offline" or "online")."""
        if self.algorithm == "td3_bc":
            return self.td3_bc.policy_delay
        return self.online.actor_interval if stage == "online" else 1


# What the runs of one cohort may differ in; everything else decides shapes, budgets or code paths.
PER_RUN_KEYS = ("seed", "dataset", "method", "sampling", "penalty")


def cohort_key(config: RunConfig) -> RunConfig:
    """Equal for runs that can be trained in one process: the config with its per-run keys at their defaults."""
    plain = RunConfig(config.env, physics=config.physics)
    blank = {key: getattr(plain, key) for key in PER_RUN_KEYS}
    if config.uses_density_ratio:  # it needs networks of its own, so all runs or none
        blank["sampling"] = dataclasses.replace(plain.sampling, real_batches=DENSITY_RATIO)
    return dataclasses.replace(config, **blank | {"dataset": "any" if config.dataset else None})


def from_mapping(values: Mapping[str, Any], where: str) -> RunConfig:
    """A RunConfig from nested mappings, as YAML gives them.

    Raises UserError naming `where`, the key and what is accepted: unknown keys, wrong types, values out of range.
    """
    try:
        return _build(RunConfig, values, "")
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def to_mapping(config: RunConfig) -> dict[str, Any]:
    """The inverse of `from_mapping`, in plain JSON types."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def check_choice(key: str, value: str, accepted: tuple[str, ...]) -> None:
    """UserError unless value is one of the accepted words."""
    close = difflib.get_close_matches(str(value), accepted, 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    _check(value in accepted, key, value, f"one of {', '.join(accepted)}{hint}")


def _check(fine: bool, key: str, value: Any, accepted: str) -> None:
    if not fine:
        raise UserError(f"{key}: {value!r} is not accepted; expected {accepted}")


def _build(cls: type, values: Any, prefix: str) -> Any:
    if not isinstance(values, Mapping):
        raise UserError(f"{prefix.rstrip('.') or 'config'}: expected a mapping of keys, got {values!r}")
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            close = difflib.get_close_matches(str(key), list(hints), 1)
            hint = f"; did you mean {prefix}{close[0]}?" if close else ""
            raise UserError(f"{prefix}{key}: unknown key{hint} accepted: {', '.join(hints)}")
    missing = [
        f.name
        for f in dataclasses.fields(cls)
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{prefix}{missing[0]}: missing")
    return cls(**{key: _convert(hints[key], value, f"{prefix}{key}") for key, value in values.items()})


def _convert(hint: Any, value: Any, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, f"{key}.")
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    for option in options:
        if typing.get_origin(option) is tuple:
            item = typing.get_args(option)[0]
            if isinstance(value, list | tuple):
                return tuple(_convert(item, part, f"{key}[{i}]") for i, part in enumerate(value))
        elif option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif option is float and isinstance(value, str) and _is_number(value):
            return float(value)  # YAML 1.1 reads 3e-4 as text
        elif option in (bool, int, str) and type(value) is option:
            return value
    names = " or ".join("null" if o is type(None) else getattr(o, "__name__", str(o)) for o in options)
    raise UserError(f"{key}: {value!r} is not accepted; expected {names}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
