"""Names for people: `cal_ql` is Cal-QL and `self:halfcheetah-medium-replay` HC-medium-replay, in figures and tables."""

import re

from analysis.io.methods import IMPORTED
from analysis.io.rows import environment, quality

METHODS = {
    "moore": "MOORe", "prioritized": "MOORe", "uniform": "uniform", "half_half": "half-half",
    "pure_online": "pure online", "balanced_replay": "Balanced Replay", "awac": "AWAC", "iql": "IQL",
    "cal_ql": "Cal-QL", "cql_sac": "CQL+SAC", "td3_bc": "TD3+BC", "rlpd": "RLPD", "wsrl": "WSRL", "mopo": "MOPO",
    "mopo_naive": "naive MOPO", "mbpo": "MBPO", "mbpo_warm": "warm MBPO", "sac": "SAC", "oorb": "OORB",
    "on_policy": "on-policy", "redq": "REDQ", "moore_plus": "MOORe+", "mbpo_plus": "MBPO+",
}  # fmt: skip
ENVIRONMENTS = {
    "halfcheetah": "HC", "hopper": "Hopper", "walker2d": "Walker2d", "pendulum": "Pendulum",
    "inverted_double_pendulum": "IDP", "cartpole_swingup": "Cart-pole",
}  # fmt: skip
SYMBOLS = {"decay_rate": "α"}  # noqa: RUF001  the paper's


def method_label(method: str) -> str:
    """Write a method as people do; a variant by its words: `fixed-0.25` fixed 0.25, `cap-x5` cap ×5."""
    if method.endswith(IMPORTED):
        name, _, theirs = method.removesuffix(IMPORTED).rpartition(":")
        return f"{method_label(theirs)} (imported, {name})"
    if found := re.fullmatch(rf"({'|'.join(SYMBOLS)})-([\d.]+)", method):
        return f"{SYMBOLS[found[1]]} = {found[2]}"
    words = re.sub(r"-x?(?=\d)", lambda match: " ×" if "x" in match[0] else " ", method)  # noqa: RUF001
    return METHODS.get(method) or words.replace("_", " ").replace("-", ", ")


def task_label(dataset: str) -> str:
    """Write a dataset id as HC-medium-replay: without where it comes from, which captions say."""
    env = environment(dataset)
    return "-".join(filter(None, (ENVIRONMENTS.get(env, env), quality(dataset))))
