"""What is in a dataset: sizes, returns, where it comes from, and whether today's simulator agrees with it."""

from dataclasses import dataclass

import numpy as np

from moore.data.check import (
    ReplayError,
    broken_rows,
    episode_bounds,
    recorded_physics,
    replay_error,
    replay_lines,
)
from moore.data.d4rl import D4RL_SETS, PublishedSet
from moore.data.hdf5 import Dataset, MetadataValue
from moore.data.scores import normalized_score, normalized_std
from moore.envs.spec import find_spec


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
    published: PublishedSet | None
    metadata: dict[str, MetadataValue]
    replay: tuple[ReplayError, ...]


def describe_dataset(dataset: Dataset, quality: str | None = None) -> Description:
    """Gather the facts; `quality` picks D4RL's set to put beside them."""
    starts, ends = episode_bounds(dataset)
    spec = find_spec(dataset.env)
    whole = dataset.terminated[ends - 1] | (dataset.truncated[ends - 1] & (ends - starts >= spec.max_episode_steps))
    returns = np.add.reduceat(dataset.reward.astype(np.float64), starts)[whole]
    if len(returns) == 0:
        returns = np.array([np.nan])
    broken = broken_rows(dataset)
    recorded = recorded_physics(dataset)
    return Description(
        env=dataset.env,
        rows=len(dataset),
        episodes=int(whole.sum()),
        cut_episodes=int((~whole).sum()),
        terminated=int(dataset.terminated.sum()),
        truncated=int(dataset.truncated.sum()),
        broken_rows=None if broken is None else len(broken),
        return_mean=float(returns.mean()),
        return_std=float(returns.std(ddof=1)) if len(returns) > 1 else float("nan"),
        return_min=float(returns.min()),
        return_max=float(returns.max()),
        published=D4RL_SETS.get(dataset.env, {}).get(quality or ""),
        metadata=dataset.metadata,
        # a file that does not say its physics is tried with all: the right one has the small error
        replay=tuple(
            error
            for physics in ([recorded] if recorded in spec.physics else spec.physics)
            if (error := replay_error(dataset, physics)) is not None
        ),
    )


def format_description(facts: Description, title: str) -> str:
    """Plain text of several lines; what is known of D4RL's set of the same name stands at the end of its line."""
    env = facts.env
    rows, episodes, mean, std = facts.published or (None, None, None, None)
    if facts.episodes:
        returns = _plus_minus(facts.return_mean, facts.return_std)
        returns += f", from {facts.return_min:.1f} to {facts.return_max:.1f}"
        score = f"{_score(env, facts.return_mean, facts.return_std)}, mean ± std over episodes"
    else:
        returns = score = "none: no whole episode"
    lines = [
        title,
        f"  environment   {env}, physics {facts.metadata.get('physics', 'not recorded')}",
        f"  rows          {facts.rows}: {facts.terminated} terminated, {facts.truncated} truncated"
        + _d4rl(None if rows is None else f"about {rows}"),
        f"  episodes      {facts.episodes} whole, {facts.cut_episodes} cut"
        + _d4rl(None if episodes is None else f"about {episodes}"),
        f"  return        {returns}" + _d4rl(None if mean is None else _plus_minus(mean, std)),
        f"  score         {score}" + _d4rl(None if mean is None else _score(env, mean, std)),
    ]
    if facts.broken_rows is not None:
        lines.append(f"  broken rows   {facts.broken_rows} where the next row is not the stored next observation")
    lines += replay_lines(facts.replay)
    for key in sorted(facts.metadata):
        value = facts.metadata[key]
        text = np.array2string(value, precision=4, threshold=8) if isinstance(value, np.ndarray) else str(value)
        lines.append(f"  {key:<22}{' '.join(text.split())}")
    return "\n".join(lines)


def _d4rl(value: str | None) -> str:
    return "" if value is None else f" [D4RL: {value}]"


def _plus_minus(mean: float, std: float | None) -> str:
    return f"{mean:.1f}" if std is None or np.isnan(std) else f"{mean:.1f} ± {std:.1f}"


def _score(env: str, mean: float, std: float | None) -> str:
    return _plus_minus(normalized_score(env, mean), None if std is None else normalized_std(env, std))
