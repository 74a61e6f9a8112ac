"""The normalised score 100 (R - random) / (reference - random); raw returns where an environment has no references."""

from moore.envs.spec import find_spec


def normalized_score(env: str, episode_return: float) -> float:
    """Score a sum of rewards: 0 is random, 100 the reference; itself without references. UserError: no such env."""
    scores = find_spec(env).reference_scores
    if scores is None:
        return episode_return
    return 100.0 * (episode_return - scores.random) / (scores.reference - scores.random)
