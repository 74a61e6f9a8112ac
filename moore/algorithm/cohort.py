"""A cohort: R runs of the same shape that one process trains, and the moves that both stages are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from moore.agents.actor_critic import Agent, Setup
from moore.agents.registry import find_agent
from moore.algorithm.clock import Clock, SafePoint, nothing
from moore.algorithm.config import RunConfig, cohort_key
from moore.algorithm.draws import ALL, Draws, Split
from moore.algorithm.dynamics import Ensemble
from moore.algorithm.evaluation import Evaluator
from moore.algorithm.interaction import Interaction
from moore.algorithm.log import Log
from moore.algorithm.metrics import Metrics
from moore.algorithm.penalty import PenaltyCoef
from moore.algorithm.replay import ModelBuffer, RealBuffer, dataset_rows, shuffled
from moore.algorithm.rollout import rollout
from moore.algorithm.train_model import model_caller, model_updates_of, train_model
from moore.algorithm.update_policy import step_settings, update_policy, updates_of
from moore.data.transitions import Transitions
from moore.envs.spec import find_spec, terminated_fn
from moore.networks.calls import caller, plain
from moore.networks.random import Streams
from moore.networks.state import State

PURPOSES = (
    "exploration",
    "policy",
    "model_batches",
    "holdout",
    "start_states",
    "rollout",
    "minibatch",
    "update",
    "density_ratio",
)


class Cohort(State):
    """Agents, ensembles, buffers and random streams of R runs in one stage ("offline" or "online")."""

    def __init__(
        self,
        configs: Sequence[RunConfig],
        datasets: Mapping[str, Transitions],
        stage: str,
        device: torch.device | str = "cpu",
    ) -> None:
        assert len({cohort_key(config) for config in configs}) == 1, (
            "runs of one cohort share everything but PER_RUN_KEYS"
        )
        shared = configs[0]
        self.configs, self.shared, self.stage, self.device = tuple(configs), shared, stage, torch.device(device)
        self.seeds, self.kinds = [c.seed for c in configs], [c.penalty.uncertainty for c in configs]
        torch.backends.cuda.matmul.allow_tf32 = shared.precision == "tf32"  # one cohort a process
        self.spec = find_spec(shared.env)
        sizes = self.spec.obs_dim, self.spec.action_dim
        self.streams = {name: Streams(self.seeds, stage, name, device=device) for name in PURPOSES}
        self.agent: Agent = find_agent(shared.algorithm)(
            shared.agent, Setup(*sizes, self.seeds, stage, device, shared.precision, self.real_ratio)
        )
        # how updates of the policy, those of the model and its rollouts are called
        self.policy_call = caller(
            self.device, step_settings(shared, stage), updates_of(shared, stage), self.agent.activations
        )
        self.model_call = model_caller(shared, self.device, model_updates_of(shared, stage))
        self.rollout_call = self.model_call if self.device.type == "cuda" else plain
        self.real_buffer = real_buffer(configs, datasets, stage, device)
        self.ensemble, retained = None, 0
        if shared.uses_model:
            self.ensemble = Ensemble(shared.dynamics, *sizes, self.seeds, device, shared.precision)
            retained = shared.rollout.retain * shared.rollout_length(stage) * shared.rollout.batch_size
        self.model_buffer = ModelBuffer(len(configs), retained, *sizes, device)
        self.penalty = PenaltyCoef([c.penalty for c in configs], shared.online.epochs, self.device)
        returns = [None if c.dataset is None else datasets[c.dataset].episode_return for c in configs]
        in_order = [None if one is None else shuffled(one) for one in returns]
        self.draws = Draws(configs, self.real_buffer, in_order, stage)
        self._evaluator = Evaluator(shared.env, shared.physics, self.seeds, shared.eval_episodes)
        self.evaluations, self.updates, self.metrics = 0, 0, Metrics()
        # of an ensemble training under way: its holdout [R, n] by field, and what the look before it saw
        self.holdout: dict[str, Tensor] = {}
        self.look: dict[str, Any] = {}
        self.clock = Clock()
        self.interaction: Interaction | None = None
        if stage == "online":
            floor = [0.0 if c.dataset is None else datasets[c.dataset].return_floor or 0.0 for c in configs]
            self.interaction = Interaction(shared, self.seeds, shared.agent.gamma, floor)
        for run, config in enumerate(configs):
            if config.dataset is not None:
                obs = self.real_buffer.all_of(run).obs
                self.agent.fit_to_dataset(run, obs, datasets[config.dataset].return_range)

    @property
    def online_size(self) -> int:
        """Environment steps so far."""
        return self.real_buffer.online_size

    @property
    def compiled(self) -> bool:
        """Whether any update is called through a compiled library."""
        return any(getattr(call, "in_use", False) for call in (self.policy_call, self.model_call))

    @property
    def has_imagined(self) -> bool:
        """Whether updates find what they draw from: D_model starts empty."""
        return self.ensemble is None or bool((self.model_buffer.written > 0).all())

    @property
    def real_ratio(self) -> float:
        """Share of real transitions in this stage's batches."""
        if not self.shared.uses_model:
            return 1.0
        own = self.shared.online.real_ratio if self.stage == "online" else None
        return self.shared.real_ratio if own is None else own

    def interact(self) -> None:
        """Take one environment step in every run and add it to D_on."""
        assert self.interaction is not None, "only the online stage has environments"
        self.interaction.step(self.agent, self.real_buffer, self.streams)

    def train_model(self, t: int, safe_point: SafePoint = nothing) -> None:
        """Train the ensemble on D_off and D_on, drawn by each run's strategy; t = 0 is the offline stage."""
        train_model(self, t, safe_point)

    def imagine(self, t: int) -> None:
        """Roll out from start states drawn by each run's strategy; add penalised transitions to D_model."""
        assert self.ensemble is not None
        index = self.draw("start_states", t, "start_states", self.shared.rollout.batch_size, ALL)
        coef = self.penalty.at(t)
        metrics = rollout(
            self.ensemble,
            self.agent,
            self.real_buffer.gather(index).obs,
            self.shared.rollout_length(self.stage),
            terminated_fn(self.spec.name),
            self.kinds,
            coef,
            self.streams["rollout"],
            self.model_buffer,
            self.rollout_call,
            self.shared.rollout.truncation_quantile is not None,
        )
        self.metrics.add(metrics | {"penalty/coef": coef})
        if t > 0:
            self.penalty.observe(metrics["penalty/mean"])

    def update_policy(self, t: int, count: int) -> None:
        """Update policy and critics `count` times in epoch t."""
        update_policy(self, t, count)

    def evaluate(self, log: Log) -> None:
        """Play episodes of the deterministic policies and tell the log."""
        returns = self._evaluator.returns(lambda obs: self.agent.act(obs.to(self.device)), self.stage, self.evaluations)
        self.evaluations += 1
        log.evaluation(self.stage, self.online_size, self.updates, returns)

    def draw(self, consumer: str, t: int, stream: str, count: int, split: Split) -> Tensor:
        """Draw rows [R, count] of the real buffer for one consumer in epoch t, by each run's strategy."""
        uniforms = self.streams[stream].uniform(2, count).transpose(0, 1)
        index, online_share = self.draws.rows(consumer, t, uniforms, split)
        if split.part != "holdout":
            self.metrics.add({f"sampling/{consumer}_online_share": online_share})
        return index

    def refresh_weights(self) -> None:
        """Compute the weights of strategies by row anew, from the current policy and ensemble."""
        assert self.ensemble is not None
        self.metrics.add(self.draws.refresh(self.agent, self.ensemble, self.streams["density_ratio"]))


def real_buffer(
    configs: Sequence[RunConfig], datasets: Mapping[str, Transitions], stage: str, device: torch.device | str
) -> RealBuffer:
    """Return D_off of every run, each dataset once, with room for D_on in the online stage."""
    shared, spec = configs[0], find_spec(configs[0].env)
    names = list(dict.fromkeys(config.dataset for config in configs if config.dataset is not None))
    return RealBuffer(
        [dataset_rows(datasets[name]) for name in names],
        [None if config.dataset is None else names.index(config.dataset) for config in configs],
        spec.obs_dim,
        spec.action_dim,
        shared.online_steps if stage == "online" else 0,
        device,
        [shuffled(datasets[name].return_to_go) for name in names] if shared.reads_returns else None,
    )
