"""Any environment of Gymnasium with flat Box observations and Box actions behind the interface of VectorEnv."""

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch

from moore.base.errors import UserError
from moore.envs.env_spec import EnvSpec
from moore.envs.physics import disable_log_file
from moore.envs.vector_env import VectorEnv

NOT_STATE = ("env", "model", "mujoco_renderer")  # attributes of an environment that no step changes, or another layer


class GymnasiumEnv(VectorEnv):
    """n environments made by `gymnasium.make(spec.gym_id)`, which give Gymnasium's numbers, bit for bit.

    Actions in [-1, 1] are mapped to the Box. States can be neither read nor set. A checkpoint holds the attributes of
    the environment and its wrappers, pickled.
    """

    def __init__(self, spec: EnvSpec, seeds: Sequence[int]) -> None:
        disable_log_file()
        self.spec, self.num_envs = spec, len(seeds)
        self._all = np.arange(self.num_envs)
        self._envs = [
            gymnasium.make(spec.gym_id, max_episode_steps=spec.max_episode_steps, disable_env_checker=True)
            for _ in seeds
        ]
        self._seeds: list[int | None] = [int(seed) for seed in seeds]  # those that the next reset starts from
        box = self._envs[0].action_space
        assert isinstance(box, gymnasium.spaces.Box)  # find_spec has checked it
        low, high = box.low.astype(np.float64), box.high.astype(np.float64)
        symmetric = bool((high == spec.action_high).all() and (low == -spec.action_high).all())
        self._box = None if symmetric else (low, high)

    def reset(self, ids: np.ndarray | None = None, seeds: Sequence[int] | None = None) -> np.ndarray:
        ids = self._all if ids is None else ids
        if seeds is not None:
            for i, seed in zip(ids, seeds, strict=True):
                self._seeds[i] = int(seed)
        obs = [self._envs[i].reset(seed=self._seeds[i])[0] for i in ids]
        for i in ids:
            self._seeds[i] = None
        return np.stack(obs).astype(np.float64)

    def step(
        self, action: np.ndarray, ids: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        ids = self._all if ids is None else ids
        action = self._in_box(self._checked(action, ids))
        steps = [self._envs[i].step(row) for i, row in zip(ids, action, strict=True)]
        obs, reward, terminated, truncated, _ = zip(*steps, strict=True)
        ended = np.array(terminated, bool)  # a fall at the time limit, too
        return np.array(obs, np.float64), np.array(reward, np.float64), ended, np.array(truncated, bool) & ~ended

    def state_dict(self) -> dict[str, Any]:
        """Return all that a bit-exact continuation needs. Raises UserError where an environment cannot be pickled."""
        try:
            saved = [pickle.dumps([_attributes(layer) for layer in _layers(env)]) for env in self._envs]
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            accepted = "accepted: an environment whose attributes can be pickled"
            raise UserError(f"env: {self.spec.name} cannot be checkpointed ({error}); {accepted}") from None
        envs = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in saved]
        return {"envs": envs, "seeds": list(self._seeds)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for env, saved in zip(self._envs, state["envs"], strict=True):
            for layer, attributes in zip(_layers(env), pickle.loads(saved.numpy().tobytes()), strict=True):
                vars(layer).update(attributes)
        self._seeds = list(state["seeds"])

    def _in_box(self, action: np.ndarray) -> np.ndarray:
        if self._box is None:
            return action * self.spec.action_high  # keeps the precision of the action
        low, high = self._box
        return low + (action + 1.0) / 2.0 * (high - low)


def _layers(env: Any) -> Iterator[Any]:
    """Yield the wrappers from outside, then the environment itself."""
    while env is not env.unwrapped:
        yield env
        env = env.env
    yield env


def _attributes(layer: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(layer).items() if key not in NOT_STATE}
