"""`EnvSpec`: all facts of one environment, readable without building a simulation."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from moore.envs.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any  # facts of environments load no torch


class ReferenceScores(NamedTuple):
    """Returns that get the scores 0 and 100."""

    random: float
    reference: float


class Simulator(Protocol):
    """The dynamics under a VectorEnv; `ids` [k] says which simulations a call is about.

    draw: one initial (qpos, qvel). set_state: write the state, return obs [k, obs_dim]. advance: one environment step,
    obs [k, obs_dim], reward [k], terminated [k]. state: a copy of all that the next step depends on, from which
    load_state goes on, bit for bit.
    """

    qpos: np.ndarray
    qvel: np.ndarray

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]: ...
    def set_state(self, qpos: np.ndarray, qvel: np.ndarray, ids: np.ndarray) -> np.ndarray: ...
    def advance(self, action: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
    def state(self) -> np.ndarray: ...
    def load_state(self, state: np.ndarray) -> None: ...


@dataclass(frozen=True)
class EnvSpec:
    """One environment. Only the sizes are needed; each other fact makes something possible."""

    name: str
    gym_id: str  # Gymnasium's environment: this one, or the closest to it; "": there is none
    obs_dim: int
    action_dim: int
    action_high: float  # `step` multiplies actions in [-1, 1] by it; files hold them multiplied
    max_episode_steps: int
    physics: tuple[str, ...] = ("gymnasium",)
    # where both are None, the environment `gym_id` is simulated by Gymnasium
    task: Callable[[str], Task] | None = None  # physics -> what MuJoCo simulates
    simulator: Callable[[str, int], Simulator] | None = None  # (physics, number of simulations) -> another simulation
    # next_obs [..., obs_dim] -> bool [...] on its device, for imagined transitions; None: no model can imagine it.
    # A model can imagine what no simulation would: a non-finite observation ends an episode that can end at all
    terminated: Callable[[Tensor], Tensor] | None = None
    reference_scores: ReferenceScores | None = None  # None: scores are raw returns
    state_dim: int | None = None  # length of qpos and of qvel; None: files hold no states that can be replayed
    default_transitions: int = 10_000  # of a self-made set
    # what moore/data/check.py has to know to compare files with `terminated` and with the simulation
    termination_margin: float = 1e-5  # how far an observation may be off at the edge of termination
    velocity_clip: float = float("inf")  # of the velocities in an observation
    hidden_beyond: float = float("inf")  # `terminated` cannot judge an observation with an entry of this magnitude
    state_columns: int | None = None  # so many leading entries of an observation follow from qpos, qvel; None: all

    @property
    def default_physics(self) -> str:
        """Return D4RL's physics where it is there, so that self-made and downloaded sets are comparable."""
        return "d4rl" if "d4rl" in self.physics else self.physics[0]

    @property
    def label(self) -> str:
        """Return the name in letters, digits and _, for folders and the label of runs without a dataset."""
        return re.sub(r"\W+", "_", self.name)


def never(next_obs: Tensor) -> Tensor:
    """End no episode but at the time limit: False [...] for next_obs [..., obs_dim]."""
    return next_obs.new_zeros(next_obs.shape[:-1]).bool()


def finite(obs: Tensor) -> Tensor:
    """Find the observations [..., obs_dim] without NaN and infinity: bool [...]."""
    return obs.isfinite().all(-1)
