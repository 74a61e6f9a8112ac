"""What each environment looks like from outside; available without building a simulation."""

import difflib
from dataclasses import dataclass

from moore.base.errors import UserError


@dataclass(frozen=True)
class EnvSpec:
    """Sizes and limits of one environment.

    `step` takes actions in [-1, 1]; they are multiplied by `action_high` before they reach the simulation.
    """

    name: str
    gym_id: str
    obs_dim: int
    action_dim: int
    action_high: float
    max_episode_steps: int
    physics: tuple[str, ...]


ENVIRONMENTS: dict[str, EnvSpec] = {
    spec.name: spec
    for spec in (
        EnvSpec("pendulum", "Pendulum-v1", 3, 1, 2.0, 200, ("gymnasium",)),
        EnvSpec("inverted_double_pendulum", "InvertedDoublePendulum-v5", 9, 1, 1.0, 1000, ("gymnasium",)),
        EnvSpec("hopper", "Hopper-v5", 11, 3, 1.0, 1000, ("gymnasium", "d4rl")),
        EnvSpec("halfcheetah", "HalfCheetah-v5", 17, 6, 1.0, 1000, ("gymnasium", "d4rl")),
        EnvSpec("walker2d", "Walker2d-v5", 17, 6, 1.0, 1000, ("gymnasium", "d4rl")),
    )
}


def find_spec(name: str) -> EnvSpec:
    """The spec called `name`; a wrong name is a UserError that lists the right ones."""
    if name not in ENVIRONMENTS:
        raise UserError(f"unknown environment {name!r}; {_accepted(name, tuple(ENVIRONMENTS))}")
    return ENVIRONMENTS[name]


def check_physics(spec: EnvSpec, physics: str) -> None:
    """Raise a UserError unless `spec` can be simulated with `physics`."""
    if physics not in spec.physics:
        raise UserError(f"{spec.name} has no physics {physics!r}; {_accepted(physics, spec.physics)}")


def _accepted(given: str, choices: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(given, choices, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}accepted: {', '.join(choices)}"
