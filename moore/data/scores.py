"""The normalised score 100 (R - random) / (reference - random); raw returns where an environment has no references."""

from moore.envs.spec import find_spec


def normalized_score(env: str, episode_return: float) -> float:
    """Return the score of a raw sum of rewards: 0 is random, 100 the reference. UserError: no such env.

    Without reference scores (moore/envs/README.md) the score is the return itself.
    """
    scores = find_spec(env).reference_scores
    if scores is None:
        return episode_return
    return 100.0 * (episode_return - scores.random) / (scores.reference - scores.random)
