"""What is in a dataset: sizes, returns, where it comes from, and whether today's simulator agrees with it."""

import numpy as np

from moore.data.check import broken_rows, episode_bounds, recorded_physics, replay_errors, replay_lines
from moore.data.d4rl import D4RL_SETS, PublishedSet
from moore.data.hdf5 import Dataset
from moore.data.scores import normalized_score, normalized_std
from moore.envs.spec import find_spec


def whole_returns(dataset: Dataset) -> np.ndarray:
    """Sum the rewards float64 [E] of the episodes that terminated or reached the time limit.

    Other episodes were cut by whoever wrote the file.
    """
    starts, ends = episode_bounds(dataset)
    limit = find_spec(dataset.env).max_episode_steps
    whole = dataset.terminated[ends - 1] | (dataset.truncated[ends - 1] & (ends - starts >= limit))
    return np.add.reduceat(dataset.reward.astype(np.float64), starts)[whole]


def describe_dataset(dataset: Dataset, title: str, quality: str | None = None) -> str:
    """Write several lines of plain text.

    What is known of D4RL's set of this `quality` stands at the end of its line. broken rows: rows inside an episode
    whose stored next observation is not the next row's.
    """
    env, returns, physics = dataset.env, whole_returns(dataset), recorded_physics(dataset)
    known = D4RL_SETS.get(env, {}).get(quality or "", PublishedSet(None))
    spread = "none: no whole episode"
    score = spread
    if len(returns):
        mean, std = float(returns.mean()), float(returns.std(ddof=1)) if len(returns) > 1 else None
        spread = f"{_plus_minus(mean, std)}, from {returns.min():.1f} to {returns.max():.1f}"
        score = f"{_score(env, mean, std)}, mean ± std over episodes"
    whole, cut = len(returns), len(episode_bounds(dataset)[0]) - len(returns)
    ends = f"{dataset.terminated.sum()} terminated, {dataset.truncated.sum()} truncated"
    lines = [
        title,
        f"  environment   {env}, physics {dataset.metadata.get('physics', 'not recorded')}",
        f"  rows          {len(dataset)}: {ends}" + _d4rl(known.rows and f"about {known.rows}"),
        f"  episodes      {whole} whole, {cut} cut" + _d4rl(known.episodes and f"about {known.episodes}"),
        f"  return        {spread}" + _d4rl(known.mean and _plus_minus(known.mean, known.std)),
        f"  score         {score}" + _d4rl(known.mean and _score(env, known.mean, known.std)),
    ]
    broken = broken_rows(dataset)
    if broken is not None:
        lines.append(f"  broken rows   {len(broken)} where the next row is not the stored next observation")
    # a file that does not say its physics is tried with all: the right one has the small error
    choices = find_spec(env).physics
    lines += replay_lines(replay_errors(dataset, [physics] if physics in choices else choices))
    for key in sorted(dataset.metadata):
        value = dataset.metadata[key]
        text = np.array2string(value, precision=4, threshold=8) if isinstance(value, np.ndarray) else str(value)
        lines.append(f"  {key:<22}{' '.join(text.split())}")
    return "\n".join(lines)


def _d4rl(value: str | float | None) -> str:
    return f" [D4RL: {value}]" if value else ""


def _plus_minus(mean: float, std: float | None) -> str:
    return f"{mean:.1f}" if std is None else f"{mean:.1f} ± {std:.1f}"


def _score(env: str, mean: float, std: float | None) -> str:
    return _plus_minus(normalized_score(env, mean), None if std is None else normalized_std(env, std))
