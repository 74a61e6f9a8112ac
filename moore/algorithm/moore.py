"""The online stage: Algorithm 1 of MOORe (arXiv 2201.10070)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.envs import make_env
from moore.networks.batch import Batch
from moore.networks.random import derive_seed
from moore.run.recorder import Recorder

UPDATES_PER_DRAW = 50  # random numbers are drawn for so many updates at once: few calls, bounded memory


def evaluation_steps(config: RunConfig) -> set[int]:
    """When to evaluate, beside J_0: every S/4 steps in the first tenth of the budget, then every S."""
    size, total = config.online.epoch_steps, config.online_steps
    early = {k * size // 4 for k in range(1, 4 * config.online.epochs + 1) if k * size // 4 <= total // 10}
    return early | set(range(size, total + 1, size))


class OnlineStage:
    """R runs interact with their environments, one step at a time, and learn from D_off, D_on and D_model."""

    def __init__(self, cohort: Cohort) -> None:
        config = cohort.shared
        env_seeds = [derive_seed(seed, "online", "environment") for seed in cohort.seeds]
        self.cohort, self.settings = cohort, config.online
        # epochs that are done, steps that are done in this one, updates that the step under way still owes
        self.epoch, self.tau, self.owed = 0, 0, 0
        self.update_interval = config.online.update_interval or config.online.epoch_steps
        self.env = make_env(config.env, env_seeds, config.physics)
        self.obs = self.env.reset()  # [R, obs_dim]
        self.episode_start = np.zeros(len(env_seeds), dtype=np.int64)  # number of its first online transition
        self.evaluation_steps = evaluation_steps(config)

    def run(self, recorder: Recorder, safe_point: Callable[[], None]) -> None:
        """Epochs t = 1..T of Algorithm 1; continues where the state stands.

        safe_point is called after every environment step, update of the ensemble and round of policy updates.
        """
        cohort, settings = self.cohort, self.settings
        cohort.safe_point = safe_point
        if cohort.evaluations == 0:
            recorder.evaluation(cohort, "online", env_steps=0)  # J_0, before the first online step
        for t in range(self.epoch + 1, settings.epochs + 1):
            while self.tau < settings.epoch_steps:
                self._step(t)
                if cohort.real_buffer.online_size in self.evaluation_steps:
                    recorder.evaluation(cohort, "online", env_steps=cohort.real_buffer.online_size)
                self.tau += 1
                safe_point()
            recorder.training(cohort, "online", env_steps=cohort.real_buffer.online_size)
            self.epoch, self.tau = t, 0
            recorder.progress(t, settings.epochs, f"online: {', '.join(dict.fromkeys(recorder.methods))}")

    def _step(self, t: int) -> None:
        """One environment step and what is learned after it, or the rest of that where a checkpoint cut it."""
        cohort, settings = self.cohort, self.settings
        in_training = cohort.ensemble is not None and cohort.ensemble.training is not None
        if not self.owed:
            if not in_training:
                self._environment_step()
            steps = cohort.real_buffer.online_size
            if steps < max(settings.exploration_steps, settings.warmup_steps) or settings.utd_ratio == 0:
                return
            if (self.tau + 1) % settings.retrain_interval == 0 and cohort.shared.uses_model:
                cohort.train_model(t)
                cohort.imagine(t)
            if self._has_data() and (self.tau + 1) % self.update_interval == 0:
                self.owed = settings.utd_ratio * self.update_interval * (settings.first_epoch_factor if t == 1 else 1)
        while self.owed:
            count = min(self.owed, UPDATES_PER_DRAW)
            cohort.update_policy(t, count)
            self.owed -= count
            if self.owed:  # else the step is done but not counted
                cohort.safe_point()

    def _environment_step(self) -> None:
        """One real transition for every run, added to D_on."""
        cohort = self.cohort
        action_dim = cohort.spec.action_dim
        obs = torch.as_tensor(self.obs, dtype=torch.float32, device=cohort.device)
        if cohort.real_buffer.online_size < self.settings.exploration_steps:
            action = 2.0 * cohort.streams["exploration"].uniform(action_dim).float() - 1.0
        else:
            noise = cohort.streams["policy"].normal(1, action_dim)
            # a run that diverged is recorded as such and goes on with finite actions, so that the others can
            action = cohort.agent.act(obs[:, None], noise)[:, 0].nan_to_num()
        next_obs, reward, terminated, truncated = self.env.step(action.cpu().numpy())
        as_tensor = lambda x: torch.as_tensor(x, dtype=torch.float32, device=cohort.device)  # noqa: E731
        cohort.real_buffer.append(Batch(obs, action, as_tensor(reward), as_tensor(next_obs), as_tensor(terminated)))
        ended = np.flatnonzero(terminated | truncated)
        for run in ended.tolist():
            tail = 0.0 if terminated[run] else cohort.return_floor[run]
            cohort.real_buffer.end_episode(run, int(self.episode_start[run]), cohort.shared.sac.gamma, tail)
        self.episode_start[ended] = cohort.real_buffer.online_size
        self.obs = next_obs
        if len(ended):
            self.obs = next_obs.copy()
            self.obs[ended] = self.env.reset(ended)

    def _has_data(self) -> bool:
        """Model-based updates wait for the first rollout, phi steps into the stage: D_model starts empty."""
        return not self.cohort.shared.uses_model or bool((self.cohort.model_buffer.written > 0).all())

    def state(self) -> dict[str, Any]:
        """Everything needed to continue from a safe point."""
        return {
            "cohort": self.cohort.state(),
            "env": self.env.state_dict(),
            "obs": torch.from_numpy(self.obs),
            "episode_start": torch.from_numpy(self.episode_start.copy()),
            "position": [self.epoch, self.tau, self.owed],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.cohort.load(state["cohort"])
        self.env.load_state_dict(state["env"])
        self.obs = state["obs"].numpy()
        self.epoch, self.tau, self.owed = state["position"]
        self.episode_start = state["episode_start"].numpy().copy()
