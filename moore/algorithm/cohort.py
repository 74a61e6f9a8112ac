"""A cohort: R runs of the same shape that are trained by one process, and the moves both stages are made of."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from moore.agents.iql import IQL
from moore.agents.registry import Agent, make_agent
from moore.agents.sac import SAC
from moore.algorithm.config import RunConfig, cohort_key
from moore.algorithm.density_ratio import DensityRatio
from moore.algorithm.diagnostics import HELD_OUT, MAX_ROWS, Look
from moore.algorithm.draws import Sampler
from moore.algorithm.dynamics import Ensemble, Training
from moore.algorithm.evaluation import Evaluator
from moore.algorithm.metrics import Metrics
from moore.algorithm.penalty import PenaltyCoef, max_std, uncertainty
from moore.algorithm.replay import ModelBuffer, RealBuffer
from moore.algorithm.rollout import rollout
from moore.algorithm.sampling import ALL, Split
from moore.data.transitions import Transitions
from moore.envs import terminated_fn
from moore.envs.spec import find_spec
from moore.networks.batch import AnyBatch, Batch, concatenate, pack, unpack
from moore.networks.graphs import caller
from moore.networks.mlp import divisor
from moore.networks.random import Streams, scale_to_index

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
SHUFFLE_SEED = 0  # offline rows are shuffled once, alike for every run, so that the end of the table is a fair holdout


class Cohort:
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
        self.configs, self.shared, self.stage = list(configs), configs[0], stage
        self.device = torch.device(device)
        self.call = caller(self.device)
        torch.backends.cuda.matmul.allow_tf32 = self.shared.precision == "tf32"  # one cohort a process
        self.spec = find_spec(self.shared.env)
        obs_dim, action_dim = self.spec.obs_dim, self.spec.action_dim
        self.seeds = [config.seed for config in configs]
        self.kinds = [config.penalty.uncertainty for config in configs]
        self.agent = make_agent(self.shared, self.seeds, stage, device)
        self.ensemble = (
            Ensemble(self.shared.dynamics, obs_dim, action_dim, self.seeds, device, self.shared.precision)
            if self.shared.uses_model
            else None
        )
        self.streams = {name: Streams(self.seeds, stage, name, device=device) for name in PURPOSES}
        names = list(dict.fromkeys(config.dataset for config in configs if config.dataset is not None))
        self.real_buffer = RealBuffer(
            [_rows(datasets[name]) for name in names],
            [None if config.dataset is None else names.index(config.dataset) for config in configs],
            obs_dim,
            action_dim,
            self.shared.online_steps if stage == "online" else 0,
            device,
            [torch.as_tensor(datasets[name].return_to_go)[_order(datasets[name])] for name in names]
            if self.shared.reads_returns
            else None,
        )
        self.return_floor = [
            (datasets[config.dataset].return_floor or 0.0) if config.dataset is not None else 0.0 for config in configs
        ]
        self.sampler = Sampler(
            configs,
            self.real_buffer,
            [None if config.dataset is None else _returns(datasets[config.dataset]) for config in configs],
            action_dim,
            stage,
            self.device,
        )
        online, rollout_length, real_ratio = self.shared.online, self.shared.rollout.length, self.shared.real_ratio
        if stage == "online":
            rollout_length = rollout_length if online.rollout_length is None else online.rollout_length
            real_ratio = real_ratio if online.real_ratio is None else online.real_ratio
        self.rollout_length, self.real_ratio = rollout_length, real_ratio
        capacity = self.shared.rollout.retain * rollout_length * self.shared.rollout.batch_size
        self.model_buffer = ModelBuffer(
            len(configs), capacity if self.shared.uses_model else 0, obs_dim, action_dim, device
        )
        self.evaluator = Evaluator(self.shared.env, self.shared.physics, self.seeds, self.shared.eval_episodes)
        self.penalty = PenaltyCoef([config.penalty for config in configs], online.epochs, self.device)
        self.evaluations, self.updates, self.metrics = 0, 0, Metrics()
        self.safe_point: Callable[[], None] = lambda: None  # called wherever `state` is all that is needed to go on
        self.holdout: Batch | None = None  # of an ensemble training under way
        self.look: Look | None = None  # the same, where it is looked at
        for run, config in enumerate(configs):
            if config.dataset is not None and self.shared.sac.normalize_obs:
                obs = self.real_buffer.all_of(run).obs
                self.agent.set_normalizer(run, obs.mean(0), divisor(obs.std(0)))
            if config.dataset is not None and isinstance(self.agent, IQL):
                self.agent.set_reward_scale(run, datasets[config.dataset].return_range)

    def train_model(self, t: int) -> None:
        """Train the ensemble on D_off ∪ D_on, drawn by each run's strategy; t = 0 is the offline stage.

        Where the ensemble is in training already, by the `load` of a state from a safe point, that training goes on.
        """
        dynamics = self.shared.dynamics
        assert self.ensemble is not None
        assert isinstance(self.agent, SAC)
        if self.ensemble.fitted and dynamics.online_max_updates == 0:  # the offline model stays
            self._refresh_weights(self.agent, self.ensemble)  # rollouts still start where the strategies say
            return
        first = not self.ensemble.fitted
        draw_batch = lambda stream, n, part: self.real_buffer.gather(  # noqa: E731
            self._draw("model_batches", t, stream, n, self._split(part))
        )
        if self.ensemble.training is None:
            self.look = self._look() if self._last_training(t) else None  # before the scaler moves, too
            # a stream of its own for each training: how far a run draws must not depend on when the others converge
            self.streams["model_batches"] = Streams(
                self.seeds, self.stage, "model_batches", self.real_buffer.online_size, device=self.device
            )
            if first or self.shared.dataset is None:
                for run in range(len(self.configs)):
                    self.ensemble.fit_scaler(run, self.real_buffer.all_of(run))
            self._refresh_weights(self.agent, self.ensemble)
            self.holdout = draw_batch("holdout", dynamics.max_holdout, "holdout")
        assert self.holdout is not None
        cap = dynamics.offline_max_updates if first else dynamics.online_max_updates
        draw = lambda n: draw_batch("model_batches", n, "train")  # noqa: E731
        self.metrics.add(self.ensemble.fit(draw, self.holdout, cap, self.safe_point, self.call))
        if self.look is not None:
            self.metrics.add(self.look.metrics())
        if first:
            self._rescale_uncertainty(self.holdout)
        self.holdout = self.look = None

    def imagine(self, t: int) -> None:
        """Roll out from start states drawn by each run's strategy; add penalised transitions to D_model."""
        settings = self.shared.rollout
        assert self.ensemble is not None
        assert isinstance(self.agent, SAC)
        start = self.real_buffer.gather(self._draw("start_states", t, "start_states", settings.batch_size, ALL))
        coef = self.penalty.at(t)
        metrics = rollout(
            self.ensemble,
            self.agent,
            start.obs,
            self.rollout_length,
            terminated_fn(self.spec.name),
            self.kinds,
            coef,
            self.streams["rollout"],
            self.model_buffer,
            self.call,
        )
        self.metrics.add(metrics | {"penalty/coef": coef})
        if t > 0:
            self.penalty.observe(metrics["penalty/mean"])

    def update_policy(self, t: int, count: int) -> None:
        """`count` updates of policy and critics; in a model-based run all but the real share is uniform in D_model."""
        batch_size, agent, buffer = self.agent.batch_size, self.agent, self.real_buffer
        num_real = round(batch_size * self.real_ratio) if self.shared.uses_model else batch_size
        interval = self.shared.actor_interval(self.stage)
        imagined = self.streams["minibatch"].uniform(count, batch_size - num_real)
        noise = self.streams["update"].normal(count, agent.noise_blocks, batch_size, self.spec.action_dim)
        weights = self.sampler.minibatch_weights
        if weights is not None:
            weights.add_online()
        elif num_real:
            drawn = self._draw("real_batches", t, "minibatch", count * num_real, ALL)
        for i in range(count):
            parts: list[AnyBatch] = []
            if num_real:
                index = drawn[:, i * num_real : (i + 1) * num_real] if weights is None else self._weigh(t, weights)
                gather = buffer.gather_with_returns if self.shared.reads_returns else buffer.gather
                parts.append(gather(index))
            if num_real < batch_size:
                parts.append(self.model_buffer.gather(scale_to_index(imagined[:, i], self.model_buffer.size[:, None])))
            batch = parts[0] if len(parts) == 1 else concatenate(parts)
            self.updates += 1
            actor = self.updates % interval == 0
            step = functools.partial(_update, agent, type(batch), actor)
            self.metrics.add(self.call(("update", actor), step, noise[:, i].transpose(0, 1), *batch))

    def _weigh(self, t: int, weights: DensityRatio) -> Tensor:
        """One minibatch's rows by their priorities, which change with every minibatch."""
        index = self._draw("real_batches", t, "minibatch", self.agent.batch_size, ALL)
        self.metrics.add(weights.update(index, self.streams["density_ratio"]))
        return index

    def evaluate(self) -> Any:
        """Raw returns [R, episodes] of the deterministic policies."""
        returns = self.evaluator.returns(lambda obs: self.agent.act(obs.to(self.device)), self.stage, self.evaluations)
        self.evaluations += 1
        return returns

    def state(self) -> dict[str, Any]:
        """Everything needed to continue."""
        return {
            "agent": self.agent.state(),
            "ensemble": self.ensemble.state() if self.ensemble else {},
            "fitted": self.ensemble.fitted if self.ensemble else False,
            "training": self._training_state(),
            "real_buffer": self.real_buffer.state(),
            "model_buffer": {"rows": self.model_buffer.rows, "written": self.model_buffer.written},
            "streams": {name: stream.state() for name, stream in self.streams.items()},
            "sampler": self.sampler.state(),
            "penalty": self.penalty.state(),
            "evaluations": self.evaluations,
            "updates": self.updates,
            "metrics": self.metrics.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.agent.load(state["agent"])
        if self.ensemble:
            self.ensemble.load(state["ensemble"])
            self.ensemble.fitted = state["fitted"]
        self.real_buffer.load(state["real_buffer"])
        self._load_training(state["training"])
        self.model_buffer.rows.copy_(state["model_buffer"]["rows"])
        self.model_buffer.written.copy_(state["model_buffer"]["written"])
        for name, stream in self.streams.items():
            stream.load(state["streams"][name])
        self.sampler.load(state["sampler"])
        self.penalty.load(state["penalty"])
        self.evaluations, self.updates = state["evaluations"], state["updates"]
        self.metrics.load(state["metrics"])

    def _training_state(self) -> dict[str, Any]:
        """Of an ensemble training under way; empty between two."""
        if self.ensemble is None or self.ensemble.training is None:
            return {}
        assert self.holdout is not None
        look = self.look and {"errors": self.look.errors, "before": self.look.before}
        return {"fit": dict(vars(self.ensemble.training)), "holdout": pack(self.holdout), "look": look}

    def _load_training(self, state: Mapping[str, Any]) -> None:
        if state:
            assert self.ensemble is not None
            self.ensemble.training = Training(**state["fit"])
            self.holdout = unpack(state["holdout"], self.spec.obs_dim)
            if state["look"]:
                self.look = self._look()  # by its held-out transitions, which are still the same
                self.look.errors, self.look.before = state["look"]["errors"], state["look"]["before"]

    def _split(self, part: str) -> Split:
        return Split(part, self.shared.dynamics.holdout_ratio, self.shared.dynamics.max_holdout)

    def _refresh_weights(self, agent: SAC, ensemble: Ensemble) -> None:
        self.metrics.add(self.sampler.refresh(agent, ensemble, self.streams["density_ratio"]))

    def _draw(self, consumer: str, t: int, stream: str, count: int, split: Split) -> Tensor:
        """Rows [R, count] of the real buffer for one consumer in epoch t, by each run's strategy."""
        uniforms = self.streams[stream].uniform(2, count).transpose(0, 1)
        index, online_share = self.sampler.rows(consumer, t, uniforms, split)
        if split.part != "holdout":
            self.metrics.add({f"sampling/{consumer}_online_share": online_share})
        return index

    def _last_training(self, t: int) -> bool:
        """Whether this is a retraining online and no other one follows in epoch t."""
        online, steps = self.shared.online, self.real_buffer.online_size
        assert self.ensemble is not None
        return t > 0 and self.ensemble.fitted and steps + online.retrain_interval > t * online.epoch_steps

    def _look(self) -> Look:
        """What the ensemble makes of the transitions since its last training, and of held-out offline ones."""
        assert self.ensemble is not None
        parts = [self._split("holdout").offline(size) for size in self.real_buffer.offline_size]
        count = min(HELD_OUT, *(held for _, held in parts))
        first = torch.tensor([first for first, _ in parts], device=self.device) + self.real_buffer.offline_start
        held_out = self.real_buffer.gather(first[:, None] + torch.arange(count, device=self.device))
        latest = min(MAX_ROWS, self.shared.online.retrain_interval)
        return Look(self.ensemble, self.kinds, self.real_buffer.latest(latest), held_out)

    def _rescale_uncertainty(self, batch: Batch) -> None:
        """Give u the mean of max_std on transitions [R, B] in the runs that ask for it."""
        if any(config.penalty.rescale for config in self.configs):
            assert self.ensemble is not None
            prediction = self.ensemble.predict(batch.obs, batch.action)
            scale = max_std(*prediction).mean(1) / uncertainty(self.kinds, *prediction).mean(1)
            asked = torch.tensor([config.penalty.rescale for config in self.configs], device=self.device)
            self.ensemble.uncertainty_scale.copy_(torch.where(asked, scale, 1.0))


def _update(agent: Agent, kind: type[AnyBatch], actor: bool, noise: Tensor, *fields: Tensor) -> dict[str, Tensor]:
    """An update as a function of tensors alone."""
    return agent.update(kind(*fields), noise, actor)


def _order(data: Transitions) -> Tensor:
    return torch.randperm(len(data), generator=torch.Generator().manual_seed(SHUFFLE_SEED))


def _returns(data: Transitions) -> Tensor | None:
    """Each transition's episode return, in the order of the buffer's rows."""
    return None if data.episode_return is None else torch.as_tensor(data.episode_return)[_order(data)]


def _rows(data: Transitions) -> Tensor:
    """Packed and shuffled rows of a dataset."""
    fields = (
        torch.as_tensor(x, dtype=torch.float32)
        for x in (data.obs, data.action, data.reward, data.next_obs, data.terminated)
    )
    return pack(Batch(*fields))[_order(data)]
