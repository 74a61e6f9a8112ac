"""Checks whether a dataset agrees with a simulator, row by row, and with itself.

A stored state (infos/qpos, infos/qvel) and the stored action give the next observation and the reward again. With the
physics that recorded a file they do so up to rounding; with another one most rows are off by a hundredth or more.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from moore.base.errors import UserError
from moore.data.hdf5 import Dataset
from moore.data.mismatch import REPLAY_ROWS, UNKNOWN, PhysicsMismatch
from moore.envs.spec import check_physics, find_spec, terminated_fn
from moore.envs.vector_env import VectorEnv, make_env

SIMULATIONS = 2000  # rows replayed side by side
RECORD_TOLERANCE = 1e-4  # between two float32 records of one observation
STEP_TOLERANCE = 1e-3  # one step by the same physics: 2e-6 from float64 states, 3e-5 in most rows from float32 ones
AGREEING_SHARE = 0.9  # rounding makes or loses a contact in a few rows; in a foreign physics 1 % of rows agree


@dataclass(frozen=True)
class ReplayError:
    """One step from stored states under stored actions against the stored next observation, over `rows` rows.

    median, p99 and max are of a row's largest absolute component of the observation error, reward_* of its absolute
    reward error; share is that of the rows whose observation error is below STEP_TOLERANCE.
    """

    physics: str
    rows: int
    median: float
    p99: float
    max: float
    reward_median: float
    reward_p99: float
    reward_max: float
    share: float

    @property
    def agrees(self) -> bool:
        """Tell whether this physics can have recorded the rows."""
        return self.share >= AGREEING_SHARE


@dataclass(frozen=True)
class Check:
    """What `check_dataset` found."""

    recorded: str  # physics that the file names
    replay: tuple[ReplayError, ...]
    agreeing: tuple[str, ...]  # physics that the rows agree with
    invariants: dict[str, np.ndarray | None]  # what holds in a sound file -> rows [k] where not; None: it is not shown
    faults: tuple[str, ...]  # a line each


def check_dataset(dataset: Dataset, physics: str | None = None, rows: int = REPLAY_ROWS) -> Check:
    """Replay `rows` evenly spread rows under `physics`, by default under all of the environment; test the invariants.

    Raises UserError for a physics that the environment does not have and for `rows` below 1.
    """
    spec, recorded = find_spec(dataset.env), recorded_physics(dataset)
    if physics is not None:
        check_physics(spec, physics)
    if rows < 1:
        raise UserError(f"--rows: {rows} is not accepted; expected 1 or more")
    invariants = {
        "inside an episode the next observation is the next row's": broken_rows(dataset),
        "terminated where the environment's rule says so, and only there": (
            None if spec.terminated is None else wrong_ends(dataset)
        ),
        "not both terminated and truncated": np.flatnonzero(dataset.terminated & dataset.truncated),
        f"no episode is longer than {spec.max_episode_steps} steps": long_episodes(dataset),
        "observations are those of the stored states": foreign_states(dataset, rows),
    }
    faults = [
        f"{name}: not so in {len(broken)} rows, first in row {broken[0]}"
        for name, broken in invariants.items()
        if broken is not None and len(broken)
    ]
    tried = spec.physics if physics is None else (physics,)
    replay = tuple(error for one in tried if (error := replay_error(dataset, one, rows)) is not None)
    agreeing = tuple(error.physics for error in replay if error.agrees)
    expected = physics or recorded
    if expected in [error.physics for error in replay] and expected not in agreeing:
        origin = "--physics asks for" if physics else "the file records"
        faults.append(f"the rows do not agree with physics {expected}, which {origin}")
    elif replay and not agreeing:
        faults.append(f"the rows agree with no physics of {dataset.env}")
    faults += [
        f"the rewards are not those of {dataset.env} with physics {error.physics}"
        for error in replay
        if error.agrees and error.reward_median > STEP_TOLERANCE
    ]
    return Check(recorded, replay, agreeing, invariants, tuple(faults))


def recorded_physics(dataset: Dataset) -> str:
    return str(dataset.metadata.get("physics", UNKNOWN))


def physics_mismatch(dataset: Dataset, physics: str) -> PhysicsMismatch | None:
    """Measure what sets the rows apart from a run with `physics`; None where they were recorded with it."""
    recorded = recorded_physics(dataset)
    if recorded == physics:
        return None
    error = replay_error(dataset, physics)
    measured = (None, None, None) if error is None else (error.median, error.p99, error.max)
    return PhysicsMismatch(recorded, physics, *measured)


def replay_error(dataset: Dataset, physics: str, rows: int = REPLAY_ROWS) -> ReplayError | None:
    """Replay up to `rows` evenly spread rows one step each; None for a file without states to start from."""
    if dataset.qpos is None or dataset.qvel is None:
        return None
    # a velocity of exactly the clip was restored from an observation: the state is not the one that moved on
    restored = (np.abs(dataset.qvel) == find_spec(dataset.env).velocity_clip).any(axis=1)
    after = _next_obs(dataset)
    chosen = _spread(np.flatnonzero(~restored & ~np.isnan(after).any(axis=1)), rows)
    if len(chosen) == 0:
        return None
    errors, reward_errors = [], []
    for env, part, ids, _ in _at_stored_states(dataset, chosen, physics):
        action = np.clip(dataset.action[part] / np.float32(env.spec.action_high), -1.0, 1.0)
        next_obs, reward, _, _ = env.step(action, ids)
        errors.append(np.abs(next_obs - after[part]).max(axis=1))
        reward_errors.append(np.abs(reward - dataset.reward[part]))
    error, reward_error = np.concatenate(errors), np.concatenate(reward_errors)
    share = float((error < STEP_TOLERANCE).mean())
    return ReplayError(physics, len(chosen), *_median_p99_max(error), *_median_p99_max(reward_error), share)


def _median_p99_max(values: np.ndarray) -> tuple[float, float, float]:
    return float(np.median(values)), float(np.quantile(values, 0.99)), float(values.max())


def _next_obs(dataset: Dataset) -> np.ndarray:
    """Return next_obs [N, obs_dim]; where none are stored, the next row's obs, and NaN where an episode ends."""
    if dataset.next_obs is not None:
        return dataset.next_obs
    after = np.roll(dataset.obs, -1, axis=0)
    after[dataset.terminated | dataset.truncated] = np.nan
    after[-1] = np.nan
    return after


def episode_bounds(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Find first row and end row (exclusive) of every episode [E]; the last one may have no end flag."""
    ends = np.flatnonzero(dataset.terminated | dataset.truncated) + 1
    if len(ends) == 0 or ends[-1] != len(dataset):
        ends = np.append(ends, len(dataset))
    return np.concatenate([[0], ends[:-1]]), ends


def long_episodes(dataset: Dataset) -> np.ndarray:
    """Find the first rows [k] of the episodes that are longer than the environment's limit."""
    starts, ends = episode_bounds(dataset)
    return starts[ends - starts > find_spec(dataset.env).max_episode_steps]


def broken_rows(dataset: Dataset) -> np.ndarray | None:
    """Find the rows [k] inside an episode whose next_obs is not the next row's obs; None where none is stored."""
    if dataset.next_obs is None:
        return None
    inside = np.flatnonzero(~(dataset.terminated | dataset.truncated)[:-1])
    gap = np.abs(dataset.next_obs[inside] - dataset.obs[inside + 1])
    return inside[(gap > RECORD_TOLERANCE).any(axis=1)]


def wrong_ends(dataset: Dataset) -> np.ndarray:
    """Find the rows [k] whose `terminated` is not what the environment's rule makes of the next observation.

    Left out, because it cannot be told: a next observation that is not stored or at the edge of the rule, one that is
    clipped where the rule needs more, and a truncated row that would have terminated too (D4RL's recorder writes the
    timeout alone).
    """
    spec, rule, next_obs = find_spec(dataset.env), terminated_fn(dataset.env), _next_obs(dataset)
    unseen, margin = np.isnan(next_obs).any(axis=1), spec.termination_margin
    verdict, below, above = (rule(torch.from_numpy(next_obs) + shift).numpy() for shift in (0.0, -margin, margin))
    decidable = (verdict == below) & (verdict == above) & ~(verdict & (dataset.truncated | unseen))
    decidable &= verdict | ~(np.abs(next_obs) >= spec.hidden_beyond).any(axis=1)
    return np.flatnonzero(decidable & (verdict != dataset.terminated))


def foreign_states(dataset: Dataset, rows: int = REPLAY_ROWS) -> np.ndarray | None:
    """Find the rows [k], of up to `rows` evenly spread, whose obs is not the stored state's; None without states."""
    if dataset.qpos is None or dataset.qvel is None:
        return None
    spec, chosen, found = find_spec(dataset.env), _spread(np.arange(len(dataset)), rows), []
    for _, part, _, obs in _at_stored_states(dataset, chosen, spec.physics[0]):
        gap = np.abs(obs - dataset.obs[part])[:, : spec.state_columns]  # observations are the same in all physics
        found.append(part[(gap > RECORD_TOLERANCE).any(axis=1)])
    return np.concatenate(found)


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """Choose up to `count` of `rows` [n], evenly spread."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]


def _at_stored_states(
    dataset: Dataset, rows: np.ndarray, physics: str
) -> Iterator[tuple[VectorEnv, np.ndarray, np.ndarray, np.ndarray]]:
    """Put simulations at the states of `rows`, some thousand at a time: (env, rows [k], ids [k], obs [k, obs_dim])."""
    assert dataset.qpos is not None and dataset.qvel is not None  # noqa: PT018
    env = make_env(dataset.env, range(min(len(rows), SIMULATIONS)), physics)
    for begin in range(0, len(rows), SIMULATIONS):
        part = rows[begin : begin + SIMULATIONS]
        ids = np.arange(len(part))
        yield env, part, ids, env.set_state(dataset.qpos[part], dataset.qvel[part], ids)
