"""The configuration of one run: frozen dataclasses whose annotations say what is accepted."""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from functools import cache
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from moore.agents.registry import find_agent
from moore.algorithm.density_ratio import DensityRatioConfig
from moore.algorithm.dynamics import DynamicsConfig
from moore.algorithm.penalty import PenaltyConfig
from moore.algorithm.rollout import RolloutConfig
from moore.algorithm.row_weights import check_strategies
from moore.algorithm.sampling import CONSUMERS, DENSITY_RATIO, SamplingConfig
from moore.base.errors import UserError
from moore.base.strict import (
    FORBID,
    MODEL_ONLY,
    ONLINE_ONLY,
    Count,
    ModelOnly,
    NonNegativeInt,
    OnlineOnly,
    dotted,
    marks_of,
    nested,
    validate,
)
from moore.envs.spec import check_physics, find_spec, terminated_fn
from moore.networks.mlp import Precision

RealShare = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=FORBID)
class OfflineConfig:
    """The offline stage (MOPO, or the method's own); skipped by a run without a dataset."""

    updates: NonNegativeInt = 1_000_000  # gradient updates; 0: the online stage starts untrained, with the dataset
    rollout_interval: ModelOnly[Count] = 1000  # updates between two rollouts
    eval_interval: Count = 50_000  # updates between two evaluations


@dataclass(frozen=True, config=FORBID)
class OnlineConfig:
    """The online stage, Algorithm 1; a method without a model does the same without its model steps."""

    epochs: Count = 100  # T
    epoch_steps: Count = 1000  # S, environment steps of an epoch
    retrain_interval: ModelOnly[Count] = 250  # phi, environment steps between two ensemble trainings and rollouts
    utd_ratio: NonNegativeInt = 20  # N, updates for every environment step; 0: the offline policy is only evaluated
    exploration_steps: NonNegativeInt = 0  # uniformly random actions first, without updates: for runs from scratch
    warmup_steps: NonNegativeInt = 0  # the offline policy acts first, without updates (WSRL)
    update_interval: NonNegativeInt = 1  # environment steps between two rounds of updates; 0: an epoch (Off2On)
    first_epoch_factor: Count = 1  # times as many updates in the first epoch (Balanced Replay 10)
    # the first updates leave actor and temperature alone: critics meet D_model first (ours, after OPT 2507.08387)
    critic_first_updates: ModelOnly[NonNegativeInt] = 0
    rollout_length: ModelOnly[Count | None] = None  # H of this stage; None: rollout.length
    real_ratio: ModelOnly[RealShare | None] = None  # share of real transitions in this stage; None: the run's


@dataclass(frozen=True, config=FORBID)
class RunConfig:
    """Everything that determines one run.

    `agent` holds the settings of the algorithm, an instance of its class's `Config` (moore/agents/). A mapping is
    turned into one; None stands for the defaults.
    """

    env: str
    dataset: str | None = None  # None: from scratch, nothing but the environment
    dataset_transitions: Count | None = None  # size: self-made sets are made so, of files so many are drawn; None: all
    keep_timeouts: bool = False  # the stored next observations; False: the rule of d4rl.qlearning_dataset
    physics: str = "gymnasium"
    seed: NonNegativeInt = 0
    method: str = "moore"  # the label in rows and tables
    algorithm: str = "moore"  # who learns: a name in moore/agents/, or package.module:name
    real_ratio: ModelOnly[RealShare] = 0.05  # share of real transitions in the batches
    eval_episodes: Count = 10
    precision: Precision = "float32"  # of the networks' products, see moore/networks/mlp.py; not in the paper
    agent: Any = None
    density_ratio: OnlineOnly[DensityRatioConfig] = field(default_factory=DensityRatioConfig)
    dynamics: ModelOnly[DynamicsConfig] = field(default_factory=DynamicsConfig)
    penalty: ModelOnly[PenaltyConfig] = field(default_factory=PenaltyConfig)
    rollout: ModelOnly[RolloutConfig] = field(default_factory=RolloutConfig)
    sampling: OnlineOnly[SamplingConfig] = field(default_factory=SamplingConfig)
    offline: OfflineConfig = field(default_factory=OfflineConfig)
    online: OnlineOnly[OnlineConfig] = field(default_factory=OnlineConfig)

    def __post_init__(self) -> None:
        kind = find_agent(self.algorithm).Config
        if not isinstance(self.agent, kind):
            object.__setattr__(self, "agent", validate(self.agent or {}, kind, prefix="agent."))
        check_physics(find_spec(self.env), self.physics)
        if self.uses_model:
            terminated_fn(self.env)  # imagined episodes need it
        check_strategies(self.sampling, self.uses_model, from_scratch=self.dataset is None)
        online, agent = self.online, self.agent
        phi, steps = online.retrain_interval, online.epoch_steps
        _check(phi <= steps or not self.uses_model, "online.retrain_interval", phi, f"1 to epoch_steps = {steps}")
        budget = f"at most the {self.online_steps} online steps; a scale's `methods` sets it for one method"
        for key in ("exploration_steps", "warmup_steps"):
            _check(getattr(online, key) <= self.online_steps, f"online.{key}", getattr(online, key), budget)
        for key in ("rollout_length", "real_ratio"):
            value = getattr(online, key)
            _check(self.uses_model or value is None, f"online.{key}", value, "null: no model")
        interval = online.update_interval
        _check(interval == 0 or steps % interval == 0, "online.update_interval", interval, f"0 or a divisor of {steps}")
        if getattr(agent, "target_critics", agent.num_critics) < agent.num_critics:
            # the choice of critics reads one noise number for each of them
            most = agent.batch_size * find_spec(self.env).action_dim
            _check(agent.num_critics <= most, "agent.num_critics", agent.num_critics, f"at most {most}")
        if self.uses_model and getattr(agent, "bc_coef", 0.0) > 0:
            for key, share in (("real_ratio", self.real_ratio), ("online.real_ratio", online.real_ratio)):
                few = share is not None and round(agent.batch_size * share) == 0
                _check(not few, key, share, "a share with a real transition in a batch, which agent.bc_coef clones")
        if self.uses_model and self.dataset is not None and self.dataset_transitions is not None:
            self.check_holdout(self.dataset_transitions)
        if self.uses_model and self.dataset is None and online.utd_ratio > 0:
            begins = max(online.exploration_steps, online.warmup_steps, 1)
            self.check_holdout(-(-begins // phi) * phi)  # the first training's
        if self.uses_density_ratio:
            share = self.density_ratio.first_share
            _check(0 < share < 1, "density_ratio.first_share", share, "a share above 0 and below 1")

    def check_holdout(self, transitions: int) -> None:
        """Raise UserError if the ensemble's holdout of so many transitions is empty."""
        ratio = self.dynamics.holdout_ratio
        _check(transitions * ratio >= 1, "dynamics.holdout_ratio", ratio, f"1 / {transitions} transitions or more")

    @property
    def online_steps(self) -> int:
        """Environment steps of the online stage."""
        return self.online.epochs * self.online.epoch_steps

    def rollout_length(self, stage: str) -> int:
        """Return H, the steps of an imagined rollout, in a stage ("offline" or "online")."""
        return (self.online.rollout_length if stage == "online" else None) or self.rollout.length

    @property
    def uses_model(self) -> bool:
        """False for a model-free run, whose batches are all real."""
        return find_agent(self.algorithm).uses_model

    @property
    def uses_density_ratio(self) -> bool:
        """Whether some consumer draws by the learned density ratio."""
        consumers = CONSUMERS if self.uses_model else ("real_batches",)
        return DENSITY_RATIO in {getattr(self.sampling, consumer) for consumer in consumers}

    @property
    def reads_returns(self) -> bool:
        """Whether updates read the data's returns (Cal-QL)."""
        return find_agent(self.algorithm).reads_returns(self.agent)


_ADAPTER = TypeAdapter(RunConfig)
WHO_AND_WHERE = ("env", "physics", "algorithm")
# what the runs of one cohort may differ in; everything else decides shapes, budgets or code paths
PER_RUN_KEYS = ("seed", "dataset", "method", "sampling", "penalty")


def cohort_key(config: RunConfig) -> RunConfig:
    """Return what is equal for runs that one process can train: the config with its per-run keys at their defaults."""
    plain = _defaults(config)
    blank = {key: getattr(plain, key) for key in PER_RUN_KEYS}
    if config.uses_density_ratio:  # it needs networks of its own, so all runs or none
        blank["sampling"] = dataclasses.replace(plain.sampling, real_batches=DENSITY_RATIO)
    return dataclasses.replace(config, **blank | {"dataset": "any" if config.dataset else None})


def from_mapping(values: Mapping[str, Any], where: str) -> RunConfig:
    """Return a RunConfig from nested mappings, as YAML gives them.

    Raises UserError naming `where`, the key and what is accepted: unknown keys, wrong types, values out of range.
    """
    return validate(values, RunConfig, where)


def to_mapping(config: RunConfig) -> dict[str, Any]:
    """Return the nested mappings of a configuration, in plain JSON types: the inverse of `from_mapping`."""
    return _ADAPTER.dump_python(config, mode="json")


def differences(config: RunConfig) -> dict[str, Any]:
    """Return the dotted keys and values that differ from the defaults; who learns where is always among them."""
    here, plain = dotted(to_mapping(config)), dotted(to_mapping(_defaults(config)))
    return {key: value for key, value in here.items() if key in WHO_AND_WHERE or value != plain.get(key)}


def offline_part(config: RunConfig) -> RunConfig:
    """Return the configuration with the settings that the offline stage does not depend on at their defaults."""
    here, plain = dotted(to_mapping(config)), dotted(to_mapping(_defaults(config)))
    online = {key for key, marks in marks_of_algorithm(config.algorithm).items() if ONLINE_ONLY in marks}
    return from_mapping(nested({k: plain[k] if k in online else v for k, v in here.items()}), "offline stage")


def has_key(algorithm: str, key: str) -> bool:
    """Tell whether an algorithm reads a dotted key; one that no algorithm has counts as read, it is refused later."""
    marks = marks_of_algorithm(algorithm)
    if key.startswith("agent."):
        return key in marks
    return MODEL_ONLY not in marks.get(key, ()) or find_agent(algorithm).uses_model


def keys_of(algorithm: str) -> list[str]:
    """Return the dotted keys that an algorithm reads."""
    return [key for key in marks_of_algorithm(algorithm) if has_key(algorithm, key)]


@cache
def marks_of_algorithm(algorithm: str) -> dict[str, frozenset[str]]:
    """Return the marks of every setting by dotted key, the algorithm's own among them."""
    marks = marks_of(RunConfig)
    marks.pop("agent")
    return marks | marks_of(find_agent(algorithm).Config, "agent.")


def _defaults(config: RunConfig) -> RunConfig:
    """Return the configuration that says no more than who learns where."""
    return RunConfig(**{key: getattr(config, key) for key in WHO_AND_WHERE})


def _check(fine: bool, key: str, value: Any, accepted: str) -> None:
    if not fine:
        raise UserError(f"{key}: {value!r} is not accepted; expected {accepted}")
