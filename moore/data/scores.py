"""Reference returns, and the normalised score 100 (R - random) / (reference - random)."""

from typing import NamedTuple

from moore.envs.spec import find_spec


class ReferenceScores(NamedTuple):
    """Returns that get the scores 0 and 100."""

    random: float
    reference: float


REFERENCE_SCORES: dict[str, ReferenceScores] = {
    # D4RL's infos.py (REF_MIN_SCORE, REF_MAX_SCORE), the same for versions v0 to v2: a random policy, a SAC expert
    "hopper": ReferenceScores(-20.272305, 3234.3),
    "halfcheetah": ReferenceScores(-280.178953, 12135.0),
    "walker2d": ReferenceScores(1.629008, 4592.3),
    # 0: mean of 1000 episodes of uniform actions here (standard error 9.1 and 0.6). 100: the project's SAC at the end
    # of training (moore/data/behaviours/*.json): deterministic policy, last 8 snapshots x 100 episodes for pendulum
    # (standard error 3.1); for the double pendulum the return of the snapshots that never fell
    "pendulum": ReferenceScores(-1224.2, -145.3),
    "inverted_double_pendulum": ReferenceScores(47.2, 9359.0),
}


def normalized_score(env: str, episode_return: float) -> float:
    """The score of a return (a raw sum of rewards): 0 is random, 100 the reference. UserError: no such env."""
    random, reference = REFERENCE_SCORES[find_spec(env).name]
    return 100.0 * (episode_return - random) / (reference - random)


def normalized_std(env: str, return_std: float) -> float:
    """A standard deviation of returns in score units: scaled by the range only, not shifted. Raises as above."""
    random, reference = REFERENCE_SCORES[find_spec(env).name]
    return 100.0 * return_std / (reference - random)
