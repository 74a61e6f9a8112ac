"""A cohort: R runs of the same shape that are trained by one process, and the moves both stages are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from moore.agents import make_agent
from moore.baselines.iql import IQL
from moore.config import RunConfig, cohort_key
from moore.data.transitions import Transitions
from moore.density_ratio import DensityRatio
from moore.dynamics import Ensemble
from moore.envs import terminated_fn
from moore.envs.spec import find_spec
from moore.evaluate import Evaluator
from moore.nets import divisor
from moore.penalty import penalty_coef
from moore.replay import AnyBatch, Batch, ModelBuffer, RealBuffer, concatenate, pack
from moore.rng import Streams, scale_to_index
from moore.rollout import rollout
from moore.sac import SAC
from moore.sampling import ALL, DENSITY_RATIO, Split, draw, mixture

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


class Metrics:
    """Running means of [R] tensors, read once per log interval: no host sync in the hot loop."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one observation of each metric."""
        for key, value in values.items():
            self._sums[key] = self._sums[key] + value if key in self._sums else value.clone()
            self._counts[key] = self._counts.get(key, 0) + 1

    def flush(self) -> dict[str, list[float]]:
        """Means since the last flush, a list of R numbers for each metric."""
        means = {key: (total / self._counts[key]).tolist() for key, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means

    def state(self) -> dict[str, Any]:
        """The sums since the last flush."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])


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
        self.spec = find_spec(self.shared.env)
        obs_dim, action_dim = self.spec.obs_dim, self.spec.action_dim
        self.seeds = [config.seed for config in configs]
        self.agent = make_agent(self.shared, self.seeds, stage, device)
        self.ensemble = (
            Ensemble(self.shared.dynamics, obs_dim, action_dim, self.seeds, device) if self.shared.uses_model else None
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
        self.density_ratio = (
            DensityRatio(
                self.shared.density_ratio,
                self.real_buffer,
                action_dim,
                self.shared.online.epoch_steps,
                self.seeds,
                device,
            )
            if stage == "online" and self.shared.sampling.real_batches == DENSITY_RATIO
            else None
        )
        capacity = self.shared.rollout.retain * self.shared.rollout.length * self.shared.rollout.batch_size
        self.model_buffer = ModelBuffer(
            len(configs), capacity if self.shared.uses_model else 0, obs_dim, action_dim, device
        )
        self.evaluator = Evaluator(self.shared.env, self.shared.physics, self.seeds, self.shared.eval_episodes)
        self.evaluations, self.updates, self.metrics = 0, 0, Metrics()
        for run, config in enumerate(configs):
            if config.dataset is not None and self.shared.sac.normalize_obs:
                obs = self.real_buffer.all_of(run).obs
                self.agent.set_normalizer(run, obs.mean(0), divisor(obs.std(0)))
            if config.dataset is not None and isinstance(self.agent, IQL):
                self.agent.set_reward_scale(run, datasets[config.dataset].return_range)

    def train_model(self, t: int) -> None:
        """Train the ensemble on D_off ∪ D_on, drawn by each run's strategy; t = 0 is the offline stage."""
        dynamics = self.shared.dynamics
        assert self.ensemble is not None
        if self.ensemble.fitted and dynamics.online_max_updates == 0:
            return  # the offline model stays
        # a stream of its own for each training: how far a run draws must not depend on when the others converge
        self.streams["model_batches"] = Streams(
            self.seeds, self.stage, "model_batches", self.real_buffer.online_size, device=self.device
        )
        if not self.ensemble.fitted or self.shared.dataset is None:
            for run in range(len(self.configs)):
                self.ensemble.fit_scaler(run, self.real_buffer.all_of(run))
        draw_batch = lambda stream, n, part: self.real_buffer.gather(  # noqa: E731
            self._draw("model_batches", t, stream, n, self._split(part))
        )
        cap = dynamics.online_max_updates if self.ensemble.fitted else dynamics.offline_max_updates
        holdout = draw_batch("holdout", dynamics.max_holdout, "holdout")
        self.metrics.add(self.ensemble.fit(lambda n: draw_batch("model_batches", n, "train"), holdout, cap))

    def imagine(self, t: int) -> None:
        """Roll out from start states drawn by each run's strategy; add penalised transitions to D_model."""
        settings = self.shared.rollout
        assert self.ensemble is not None
        assert isinstance(self.agent, SAC)
        start = self.real_buffer.gather(self._draw("start_states", t, "start_states", settings.batch_size, ALL))
        coef = torch.tensor(
            [penalty_coef(config.penalty, t, config.online.epochs) for config in self.configs], device=self.device
        )
        kinds = [config.penalty.uncertainty for config in self.configs]
        self.metrics.add(
            rollout(
                self.ensemble,
                self.agent,
                start.obs,
                settings.length,
                terminated_fn(self.spec.name),
                kinds,
                coef,
                self.streams["rollout"],
                self.model_buffer,
            )
        )

    def update_policy(self, t: int, count: int) -> None:
        """`count` updates of policy and critics; in a model-based run all but the real share is uniform in D_model."""
        batch_size, agent, buffer = self.agent.batch_size, self.agent, self.real_buffer
        num_real = round(batch_size * self.shared.real_ratio) if self.shared.uses_model else batch_size
        interval = self.shared.actor_interval(self.stage)
        imagined = self.streams["minibatch"].uniform(count, batch_size - num_real)
        noise = self.streams["update"].normal(count, agent.noise_blocks, batch_size, self.spec.action_dim)
        if self.density_ratio is not None:
            self.density_ratio.add_online()
        elif num_real:
            drawn = self._draw("real_batches", t, "minibatch", count * num_real, ALL)
        for i in range(count):
            parts: list[AnyBatch] = []
            if num_real:
                index = drawn[:, i * num_real : (i + 1) * num_real] if self.density_ratio is None else self._weigh(t)
                gather = buffer.gather_with_returns if self.shared.reads_returns else buffer.gather
                parts.append(gather(index))
            if num_real < batch_size:
                parts.append(self.model_buffer.gather(scale_to_index(imagined[:, i], self.model_buffer.size[:, None])))
            batch = parts[0] if len(parts) == 1 else concatenate(parts)
            self.updates += 1
            self.metrics.add(agent.update(batch, noise[:, i].transpose(0, 1), self.updates % interval == 0))

    def _weigh(self, t: int) -> Tensor:
        """One minibatch's rows by their priorities, which change with every minibatch."""
        assert self.density_ratio is not None
        index = self._draw("real_batches", t, "minibatch", self.agent.batch_size, ALL)
        self.metrics.add(self.density_ratio.update(index, self.streams["density_ratio"]))
        return index

    def evaluate(self) -> Any:
        """Raw returns [R, episodes] of the deterministic policies."""
        returns = self.evaluator.returns(lambda obs: self.agent.act(obs.to(self.device)), self.stage, self.evaluations)
        self.evaluations += 1
        return returns

    def state(self) -> dict[str, Any]:
        """Everything needed to continue."""
        return {
            "agent": detached(self.agent.state()),
            "ensemble": detached(self.ensemble.state()) if self.ensemble else {},
            "fitted": self.ensemble.fitted if self.ensemble else False,
            "density_ratio": detached(self.density_ratio.state()) if self.density_ratio else {},
            "real_buffer": self.real_buffer.state(),
            "model_buffer": {"rows": self.model_buffer.rows, "written": self.model_buffer.written},
            "streams": {name: stream.state() for name, stream in self.streams.items()},
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
        if self.density_ratio:
            self.density_ratio.load(state["density_ratio"])
        self.model_buffer.rows.copy_(state["model_buffer"]["rows"])
        self.model_buffer.written.copy_(state["model_buffer"]["written"])
        for name, stream in self.streams.items():
            stream.load(state["streams"][name])
        self.evaluations, self.updates = state["evaluations"], state["updates"]
        self.metrics.load(state["metrics"])

    def _split(self, part: str) -> Split:
        return Split(part, self.shared.dynamics.holdout_ratio, self.shared.dynamics.max_holdout)

    def _draw(self, consumer: str, t: int, stream: str, count: int, split: Split) -> Tensor:
        """Rows [R, count] of the real buffer for one consumer in epoch t, by each run's strategy."""
        if consumer == "real_batches" and self.density_ratio is not None:
            mixtures = [self.density_ratio.mixture(run) for run in range(len(self.configs))]
        else:
            mixtures = [
                mixture(config.sampling, consumer, t, size, self.real_buffer.online_size)
                for config, size in zip(self.configs, self.real_buffer.offline_size, strict=True)
            ]
        uniforms = self.streams[stream].uniform(2, count).transpose(0, 1)
        index, online_share = draw(self.real_buffer, mixtures, uniforms, split)
        if split.part != "holdout":
            self.metrics.add({f"sampling/{consumer}_online_share": online_share})
        return index


def detached(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without their gradient flags, for saving."""
    return {key: value.detach() for key, value in state.items()}


def _order(data: Transitions) -> Tensor:
    return torch.randperm(len(data), generator=torch.Generator().manual_seed(SHUFFLE_SEED))


def _rows(data: Transitions) -> Tensor:
    """Packed and shuffled rows of a dataset."""
    fields = (
        torch.as_tensor(x, dtype=torch.float32)
        for x in (data.obs, data.action, data.reward, data.next_obs, data.terminated)
    )
    return pack(Batch(*fields))[_order(data)]
