"""Names and order of the methods, the same in every table and figure, and what people call them."""

import re
from collections.abc import Iterable, Sequence

MOORE = "moore"  # in a study of methods
PRIORITIZED = "prioritized"  # the same method in a study of sampling strategies
# Trained from scratch: no offline stage and no dataset, so shown beside every dataset of their environment.
REFERENCES = ("sac", "redq", "mbpo", "mbpo_plus")
SAMPLING = ("uniform", "half_half", "pure_online")  # MOORe with other sampling strategies
IMPORTED = " (imported)"  # ending of a method whose curves are other people's
ORDER = (
    MOORE, PRIORITIZED, "moore_plus", *SAMPLING,
    "balanced_replay", "awac", "iql", "cal_ql", "cql_sac", "td3_bc", "rlpd", "wsrl", "mbpo_warm", "mopo_naive", "mopo",
    *REFERENCES,
)  # fmt: skip
LABELS = {  # names for people
    "moore": "MOORe", "prioritized": "MOORe", "uniform": "uniform", "half_half": "half-half",
    "pure_online": "pure online", "balanced_replay": "Balanced Replay", "awac": "AWAC", "iql": "IQL",
    "cal_ql": "Cal-QL", "cql_sac": "CQL+SAC", "td3_bc": "TD3+BC", "rlpd": "RLPD", "wsrl": "WSRL", "mopo": "MOPO",
    "mopo_naive": "naive MOPO", "mbpo": "MBPO", "mbpo_warm": "warm MBPO", "sac": "SAC", "oorb": "OORB",
    "on_policy": "on-policy", "redq": "REDQ", "moore_plus": "MOORe+", "mbpo_plus": "MBPO+",
}  # fmt: skip
SYMBOLS = {"decay_rate": "α"}  # noqa: RUF001  the paper's


def ordered(methods: Iterable[str]) -> list[str]:
    """List unique methods: those of `ORDER`, others by name and number (0.5 before 10), references last."""

    def key(method: str) -> tuple[int, list[tuple[int, float, str]]]:
        pieces = re.split(r"(\d+(?:\.\d+)?)", method)
        natural = [(0, float(p), "") if p[:1].isdigit() else (1, 0.0, p) for p in pieces]
        if method in REFERENCES:
            return 2, [(0, float(REFERENCES.index(method)), "")]
        return (0, [(0, float(ORDER.index(method)), "")]) if method in ORDER else (1, natural)

    return sorted(set(methods), key=key)


def listed(names: Sequence[str]) -> str:
    """Write `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def method_label(method: str) -> str:
    """Write a method as people do; a variant by its words: `fixed-0.25` fixed 0.25, `cap-x5` cap ×5."""
    if method.endswith(IMPORTED):
        name, _, theirs = method.removesuffix(IMPORTED).rpartition(":")
        return f"{method_label(theirs)} (imported, {name})"
    if found := re.fullmatch(rf"({'|'.join(SYMBOLS)})-([\d.]+)", method):
        return f"{SYMBOLS[found[1]]} = {found[2]}"
    words = re.sub(r"-x?(?=\d)", lambda match: " ×" if "x" in match[0] else " ", method)  # noqa: RUF001
    return LABELS.get(method) or words.replace("_", " ").replace("-", ", ")
