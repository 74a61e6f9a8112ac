"""What `moore data check` prints: sizes, returns and scores of a dataset, where it comes from, and what is wrong."""

import numpy as np

from moore.data.check import AGREEING_SHARE, STEP_TOLERANCE, Check, episode_bounds
from moore.data.hdf5 import Dataset
from moore.data.scores import normalized_score
from moore.envs.spec import find_spec


def whole_returns(dataset: Dataset) -> np.ndarray:
    """Sum the rewards float64 [E] of episodes that terminated or reached the time limit; others were cut off."""
    starts, ends = episode_bounds(dataset)
    limit = find_spec(dataset.env).max_episode_steps
    whole = dataset.terminated[ends - 1] | (dataset.truncated[ends - 1] & (ends - starts >= limit))
    return np.add.reduceat(dataset.reward.astype(np.float64), starts)[whole]


def describe(dataset: Dataset, check: Check, title: str) -> str:
    """Write several lines of plain text; the last ones say what is wrong, or that nothing is."""
    env, returns, episodes = dataset.env, whole_returns(dataset), len(episode_bounds(dataset)[0])
    ends = f"{dataset.terminated.sum()} terminated, {dataset.truncated.sum()} truncated"
    lines = [
        title,
        f"  environment   {env}, physics recorded: {check.recorded}",
        f"  rows          {len(dataset)}: {ends}",
        f"  episodes      {len(returns)} whole, {episodes - len(returns)} cut",
    ]
    if len(returns):
        mean, std = float(returns.mean()), float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
        score = normalized_score(env, mean)
        score_std = normalized_score(env, std) - normalized_score(env, 0.0)  # scaled by the range, not shifted
        lines.append(f"  return        {mean:.1f} ± {std:.1f}, from {returns.min():.1f} to {returns.max():.1f}")
        lines.append(f"  score         {score:.1f} ± {score_std:.1f}, mean ± std over episodes")
    for key, value in sorted(dataset.metadata.items()):
        text = np.array2string(value, precision=4, threshold=8) if isinstance(value, np.ndarray) else str(value)
        lines.append(f"  {key:<22}{' '.join(text.split())}")
    if dataset.next_obs is None:
        lines.append("  trains with   keep_timeouts: false only, as there are no next_observations")
    lines += [
        f"  replay        physics {error.physics}, {error.rows} rows: observation error median {error.median:.1e},"
        f" p99 {error.p99:.1e}, max {error.max:.1e}; reward error median {error.reward_median:.1e},"
        f" p99 {error.reward_p99:.1e}, max {error.reward_max:.1e}"
        for error in check.replay
    ]
    if check.replay:
        lines.append(
            f"  agrees with   {', '.join(check.agreeing) or 'none'} (error below {STEP_TOLERANCE:g} in at least"
            f" {100 * AGREEING_SHARE:.0f} % of rows)"
        )
    else:
        lines.append("  replay        not possible: no row has infos/qpos, infos/qvel and a next observation")
    for name, broken in check.invariants.items():
        state = "not shown" if broken is None else "broken" if len(broken) else "holds"
        lines.append(f"  {state:<14}{name}")
    lines += [f"  fault         {fault}" for fault in check.faults] or ["  verdict       fine"]
    return "\n".join(lines)
