"""What is in a dataset: sizes, returns, where it comes from, and whether today's simulator agrees with it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from moore.data.hdf5 import Dataset, MetadataValue
from moore.data.scores import normalized_score, normalized_std
from moore.envs import ENVIRONMENTS, make_env

REPLAY_ROWS = 2000
CONTINUITY_TOLERANCE = 1e-4


class PublishedReturn(NamedTuple):
    """Mean and standard deviation of the episode returns of a D4RL v2 file (None: not published)."""

    mean: float
    std: float | None


D4RL_RETURNS: dict[str, dict[str, PublishedReturn]] = {
    # as D4RL's authors gave them to the authors of a decision transformer, whose code quotes them
    "halfcheetah": {
        "random": PublishedReturn(-288.8, 80.0),
        "medium": PublishedReturn(4770.3, 356.0),
        "medium-replay": PublishedReturn(3093.0, None),
        "expert": PublishedReturn(10656.0, 442.0),
    },
    "hopper": {
        "random": PublishedReturn(18.4, 17.0),
        "medium": PublishedReturn(1422.1, 379.0),
        "medium-replay": PublishedReturn(467.0, None),
        "expert": PublishedReturn(3511.0, 329.0),
    },
    "walker2d": {
        "random": PublishedReturn(1.9, 5.8),
        "medium": PublishedReturn(2852.0, 1095.0),
        "medium-replay": PublishedReturn(683.0, None),
        "expert": PublishedReturn(4920.5, 136.0),
    },
}


@dataclass(frozen=True)
class ReplayError:
    """One step from stored states under stored actions against the stored next observation, over `rows` rows.

    Errors are the largest absolute component of a row's observation; reward_max is the largest reward error.
    """

    physics: str
    rows: int
    median: float
    p99: float
    max: float
    reward_max: float


@dataclass(frozen=True)
class Description:
    """Facts about a dataset.

    episodes counts those that terminated or reached the time limit; cut_episodes were ended earlier by whoever wrote
    the file. Returns (raw sums of rewards) are of `episodes` only, NaN if there are none. broken_rows: rows inside an
    episode whose stored next observation is not the next row's observation (None: not stored).
    """

    env: str
    rows: int
    episodes: int
    cut_episodes: int
    terminated: int
    truncated: int
    broken_rows: int | None
    return_mean: float
    return_std: float
    return_min: float
    return_max: float
    published: PublishedReturn | None
    metadata: dict[str, MetadataValue]
    replay: tuple[ReplayError, ...]


def episode_bounds(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """First row and end row (exclusive) of every episode [E]; the last one may have no end flag."""
    ends = np.flatnonzero(dataset.terminated | dataset.truncated) + 1
    if len(ends) == 0 or ends[-1] != len(dataset):
        ends = np.append(ends, len(dataset))
    return np.concatenate([[0], ends[:-1]]), ends


def describe_dataset(dataset: Dataset, quality: str | None = None) -> Description:
    """Gather the facts; `quality` picks D4RL's published return to put beside them."""
    starts, ends = episode_bounds(dataset)
    limit = ENVIRONMENTS[dataset.env].max_episode_steps
    whole = dataset.terminated[ends - 1] | (dataset.truncated[ends - 1] & (ends - starts >= limit))
    returns = np.add.reduceat(dataset.reward.astype(np.float64), starts)[whole]
    if len(returns) == 0:
        returns = np.array([np.nan])
    broken = None
    if dataset.next_obs is not None:
        inside = ~(dataset.terminated | dataset.truncated)[:-1]
        gap = np.abs(dataset.next_obs[:-1][inside] - dataset.obs[1:][inside])
        broken = int((gap > CONTINUITY_TOLERANCE).any(axis=1).sum())
    recorded = dataset.metadata.get("physics")
    available = ENVIRONMENTS[dataset.env].physics
    return Description(
        env=dataset.env,
        rows=len(dataset),
        episodes=int(whole.sum()),
        cut_episodes=int((~whole).sum()),
        terminated=int(dataset.terminated.sum()),
        truncated=int(dataset.truncated.sum()),
        broken_rows=broken,
        return_mean=float(returns.mean()),
        return_std=float(returns.std(ddof=1)) if len(returns) > 1 else float("nan"),
        return_min=float(returns.min()),
        return_max=float(returns.max()),
        published=D4RL_RETURNS.get(dataset.env, {}).get(quality or ""),
        metadata=dataset.metadata,
        # a file that does not say its physics is tried with all: the right one has the small error
        replay=tuple(
            error
            for physics in ([str(recorded)] if recorded in available else available)
            if (error := replay_error(dataset, physics)) is not None
        ),
    )


def replay_error(dataset: Dataset, physics: str) -> ReplayError | None:
    """Replay up to REPLAY_ROWS evenly spread rows one step each; None for a file without states to start from.

    The error of the file's own physics is rounding, 1e-6 or so. It is larger in a few rows where float32 states, or a
    solver that started elsewhere, make or lose a contact.
    """
    if dataset.qpos is None or dataset.qvel is None:
        return None
    if dataset.next_obs is not None:
        usable = np.arange(len(dataset))
        target = dataset.next_obs
    else:
        usable = np.flatnonzero(~(dataset.terminated | dataset.truncated)[:-1])
        target = np.roll(dataset.obs, -1, axis=0)
    if len(usable) == 0:
        return None
    rows = usable[np.unique(np.linspace(0, len(usable) - 1, REPLAY_ROWS).astype(int))]
    env = make_env(dataset.env, range(len(rows)), physics)
    env.set_state(dataset.qpos[rows], dataset.qvel[rows])
    action = np.clip(dataset.action[rows] / np.float32(env.spec.action_high), -1.0, 1.0)
    next_obs, reward, _, _ = env.step(action)
    error = np.abs(next_obs - target[rows]).max(axis=1)
    return ReplayError(
        physics=physics,
        rows=len(rows),
        median=float(np.median(error)),
        p99=float(np.quantile(error, 0.99)),
        max=float(error.max()),
        reward_max=float(np.abs(reward - dataset.reward[rows]).max()),
    )


def format_description(facts: Description, title: str) -> str:
    """Plain text of several lines."""
    env = facts.env
    lines = [
        title,
        f"  environment   {env}, physics {facts.metadata.get('physics', 'not recorded')}",
        f"  rows          {facts.rows}: {facts.terminated} terminated, {facts.truncated} truncated",
        f"  episodes      {facts.episodes} whole, {facts.cut_episodes} cut",
    ]
    if facts.episodes:
        lines += [
            f"  return        {_plus_minus(facts.return_mean, facts.return_std)},"
            f" from {facts.return_min:.1f} to {facts.return_max:.1f}",
            f"  score         {_score(env, facts.return_mean, facts.return_std)} (mean ± std over episodes)",
        ]
    if facts.published is not None:
        mean, std = facts.published
        lines.append(f"  D4RL's set    return {_plus_minus(mean, std)}, score {_score(env, mean, std)}")
    if facts.broken_rows is not None:
        lines.append(f"  broken rows   {facts.broken_rows} where the next row is not the stored next observation")
    for replay in facts.replay:
        lines.append(
            f"  replay        physics {replay.physics}, {replay.rows} rows: observation error median"
            f" {replay.median:.1e}, p99 {replay.p99:.1e}, max {replay.max:.1e}; reward max {replay.reward_max:.1e}"
        )
    if not facts.replay:
        lines.append("  replay        not possible: the file has no infos/qpos and infos/qvel")
    for key in sorted(facts.metadata):
        value = facts.metadata[key]
        text = np.array2string(value, precision=4, threshold=8) if isinstance(value, np.ndarray) else str(value)
        lines.append(f"  {key:<22}{' '.join(text.split())}")
    return "\n".join(lines)


def _plus_minus(mean: float, std: float | None) -> str:
    return f"{mean:.1f}" if std is None or np.isnan(std) else f"{mean:.1f} ± {std:.1f}"


def _score(env: str, mean: float, std: float | None) -> str:
    return _plus_minus(normalized_score(env, mean), None if std is None else normalized_std(env, std))
