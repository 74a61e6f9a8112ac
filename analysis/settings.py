"""What the methods of a study were run with, from the configs in its manifest: budgets, deviations, own settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from analysis.methods import REFERENCES, listed, ordered
from analysis.rows import Study
from moore.algorithm.switches import ALGORITHMS, dotted_keys

SAC = "sac"  # the algorithm of MOORe, and of manifests that do not name one
ABSENT = object()
# CQL (arXiv 2006.04779) and Balanced Replay (arXiv 2107.00591); a smaller number is a cheaper, weaker method.
PUBLISHED = {"cql.num_actions": 10, "balanced_replay.num_agents": 5}
# Which run it is, and what the columns of the table of methods say already.
NOT_OWN = (
    "env", "dataset", "dataset_transitions", "keep_timeouts", "physics", "seed", "method", "algorithm", "eval_episodes",
    "real_ratio", "sampling.real_batches", "offline.updates", "online.utd_ratio",
)  # fmt: skip


def values(study: Study, method: str, key: str) -> list[Any]:
    """Distinct values of a dotted config key (`online.utd_ratio`) in a method's online runs, numbers ascending.

    Several where it depends on the task; none where the manifest does not have the key.
    """
    return _distinct(study.configs.get(method, []), key)


def text(several: Iterable[Any]) -> str:
    """Values as in YAML: `0.5 or 1`, `true`, `[64, 64]`."""
    return " or ".join(map(_one_text, several))


def untrained(study: Study) -> list[str]:
    """Methods with a dataset but without an offline stage, such as RLPD: J_0 is a policy that has learned nothing."""
    return [m for m in ordered(study.methods) if m not in REFERENCES and values(study, m, "offline.updates") == [0]]


def frozen(study: Study) -> list[str]:
    """Methods that never update online: the offline policy, evaluated along the online axis."""
    return [m for m in ordered(study.methods) if values(study, m, "online.utd_ratio") == [0]]


def without_stage(study: Study) -> list[str]:
    """Methods without an offline stage, for which there is no switch to drop at."""
    return [*REFERENCES, *untrained(study)]


def only_other_numbers(study: Study, method: str) -> bool:
    """Whether a method is the study's main one with other budgets or lengths: it learns, draws and penalises alike."""
    keys = ("algorithm", "sampling", "penalty")
    alike = all(values(study, method, key) == values(study, study.main, key) for key in keys)
    return bool(study.configs.get(method)) and alike and is_model_based(study, method)


def budgets(study: Study) -> str:
    """One sentence: updates of every method where they differ, and what is smaller or larger than published."""
    by_budget: dict[tuple[str, str], list[str]] = {}
    for method in ordered(study.methods):
        offline = [0] if method in REFERENCES else values(study, method, "offline.updates")
        online = values(study, method, "online.utd_ratio")
        if offline and online:
            by_budget.setdefault((text(offline), text(online)), []).append(method)
    trained = {budget for budget, methods in by_budget.items() if not set(methods) <= set(REFERENCES)}
    parts = []
    if len(trained) > 1 or len({online for _, online in by_budget}) > 1:
        each = [f"{offline} + {online} ({', '.join(methods)})" for (offline, online), methods in by_budget.items()]
        parts.append("gradient updates, offline + per online step: " + ", ".join(each))
    for factor, methods in _deviating(study, "online.first_epoch_factor", 1).items():
        parts.append(f"{factor} times as many in the first epoch of {listed(methods)}")
    for key, published in PUBLISHED.items():
        for value, methods in _deviating(study, key, published).items():
            parts.append(f"{key} {value}, published {published} ({', '.join(methods)})")
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}." if parts else ""


def own_settings(study: Study, method: str, reference: str) -> dict[str, str]:
    """Dotted keys and values as run that tell `method` from the others: those that differ from the defaults.

    Keys of the algorithm's own sections are all there; the others only where they also differ from `reference`, since
    what those two share is the scale's.
    """
    ours, theirs = study.configs.get(method, []), study.configs.get(reference, [])
    if algorithm(study, method) == SAC:  # a model's sizes are the scale's
        own = {"penalty"} if is_model_based(study, method) else set()
    else:  # the priorities of a learned strategy are a section of its name
        own = {*ALGORITHMS.get(algorithm(study, method), ()), *_distinct(ours, "sampling.real_batches")}
    out = {}
    for key, default in default_settings().items():
        mine = _distinct(ours, key)
        if key in NOT_OWN or mine in ([], [default]):
            continue
        if key.split(".")[0] in own or mine != _distinct(theirs, key):
            out[key] = text(mine)
    return out


def algorithm(study: Study, method: str) -> str:
    """Who learns: `sac` or a baseline's agent."""
    return str((values(study, method, "algorithm") or [SAC])[0])


def is_model_based(study: Study, method: str) -> bool:
    """Whether a method learns from imagined transitions."""
    return algorithm(study, method) == SAC and any(ratio < 1 for ratio in values(study, method, "real_ratio"))


def default_settings() -> dict[str, Any]:
    """Every dotted key of moore/algorithm/config.py with its default."""
    from moore.algorithm.config import (  # here, not above: it brings torch, which captions do without
        RunConfig,
        to_mapping,
    )

    nested = to_mapping(RunConfig("pendulum"))
    return {key: lookup(nested, key) for key in dotted_keys(nested)}


def lookup(config: Any, key: str) -> Any:
    """The value under a dotted key, or `ABSENT`."""
    for name in key.split("."):
        config = config.get(name, ABSENT) if isinstance(config, Mapping) else ABSENT
    return config


def _distinct(configs: Iterable[Any], key: str) -> list[Any]:
    found: list[Any] = []
    for value in (lookup(config, key) for config in configs):
        if value is not ABSENT and value not in found:
            found.append(value)
    return sorted(found, key=lambda x: x if isinstance(x, (int, float)) else 0)


def _one_text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_one_text, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _deviating(study: Study, key: str, published: int) -> dict[str, list[str]]:
    """The values of `key` other than the published one, each with its methods."""
    out: dict[str, list[str]] = {}
    for method in ordered(study.methods):
        if values(study, method, key) not in ([], [published]):
            out.setdefault(text(values(study, method, key)), []).append(method)
    return out
