"""Environments by name: ours, `gymnasium:<Id>` for any of Gymnasium's, `package.module:name` for a user's own."""

import dataclasses
import functools
from collections.abc import Callable

from moore.base import plugins
from moore.base.errors import UserError
from moore.base.strict import nearest
from moore.envs.cartpole_swingup import CARTPOLE_SWINGUP
from moore.envs.double_pendulum import INVERTED_DOUBLE_PENDULUM
from moore.envs.env_spec import EnvSpec, ReferenceScores, Tensor
from moore.envs.gymnasium_rules import TERMINATED
from moore.envs.locomotion import HALFCHEETAH, HOPPER, WALKER2D
from moore.envs.pendulum import PENDULUM

GYMNASIUM = "gymnasium:"

ENVIRONMENTS: dict[str, EnvSpec] = {
    spec.name: spec for spec in (PENDULUM, CARTPOLE_SWINGUP, INVERTED_DOUBLE_PENDULUM, HOPPER, HALFCHEETAH, WALKER2D)
}
"""Ours, which have their own simulation."""


def find_spec(name: str) -> EnvSpec:
    """Return the spec called `name`, whose own name is then this one. UserError, listing the right ones, if none is."""
    if name in ENVIRONMENTS:
        return ENVIRONMENTS[name]
    if name.startswith(GYMNASIUM):
        return gymnasium_spec(name.removeprefix(GYMNASIUM))
    if plugins.is_plugin(name):
        spec: object = plugins.find(name, {}, "env")
        if not isinstance(spec, EnvSpec):
            raise UserError(f"env: {name!r} is of type {type(spec).__name__}; accepted: an EnvSpec")
        return dataclasses.replace(spec, name=name)
    accepted = f"accepted: {', '.join(ENVIRONMENTS)}, gymnasium:ID, package.module:name"
    raise UserError(f"unknown environment {name!r}; {nearest(name, list(ENVIRONMENTS))}{accepted}")


@functools.cache
def gymnasium_spec(
    gym_id: str,
    *,
    terminated: Callable[[Tensor], Tensor] | None = None,
    reference_scores: tuple[float, float] | None = None,
) -> EnvSpec:
    """Describe an environment of Gymnasium with flat Box observations, Box actions and a time limit; else UserError.

    terminated: next_obs [..., obs_dim] -> bool [...], needed by methods with a model; by default that of
    moore/envs/gymnasium_rules.py, if any. reference_scores: the returns that get the scores 0 and 100.
    """
    import gymnasium  # here, as nothing else needs it this early

    from moore.envs.physics import disable_log_file

    disable_log_file()

    def refused(problem: str) -> UserError:
        accepted = "one that gymnasium.make knows, with flat Box observations, finite Box actions and a time limit"
        return UserError(f"env: {GYMNASIUM}{gym_id}: {problem}; accepted: {accepted}")

    try:
        env = gymnasium.make(gym_id, disable_env_checker=True)
    except (gymnasium.error.Error, ImportError) as error:
        raise refused(" ".join(str(error).split())) from None
    obs, action = env.observation_space, env.action_space
    limit = None if env.spec is None else env.spec.max_episode_steps
    env.close()
    if not isinstance(obs, gymnasium.spaces.Box) or len(obs.shape) != 1:
        raise refused(f"its observations are {obs}")
    if not isinstance(action, gymnasium.spaces.Box) or len(action.shape) != 1 or not action.is_bounded():
        raise refused(f"its actions are {action}")
    if limit is None:
        raise refused("it has no max_episode_steps")
    high = float(action.high[0])
    symmetric = (action.high == high).all() and (action.low == -high).all()
    return EnvSpec(
        name=f"{GYMNASIUM}{gym_id}",
        gym_id=gym_id,
        obs_dim=obs.shape[0],
        action_dim=action.shape[0],
        action_high=high if symmetric else 1.0,  # then files hold actions in [-1, 1]
        max_episode_steps=limit,
        terminated=terminated or TERMINATED.get(gym_id),
        reference_scores=None if reference_scores is None else ReferenceScores(*reference_scores),
    )


def check_physics(spec: EnvSpec, physics: str) -> None:
    """Raise a UserError unless `spec` can be simulated with `physics`."""
    if physics not in spec.physics:
        accepted = ", ".join(spec.physics)
        raise UserError(f"{spec.name} has no physics {physics!r}; {nearest(physics, spec.physics)}accepted: {accepted}")


def terminated_fn(name: str) -> Callable[[Tensor], Tensor]:
    """Return an environment's termination function, next_obs [..., obs_dim] -> bool [...]. Raises UserError without."""
    terminated = find_spec(name).terminated
    if terminated is None:
        accepted = "a method without a model, or an EnvSpec of yours with `terminated` (moore/envs/README.md)"
        raise UserError(f"env: {name} has no termination function, which a model needs; accepted: {accepted}")
    return terminated
