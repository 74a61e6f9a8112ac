"""What the methods of a study were run with: the only module that knows the keys of a run's configuration.

Everything comes from the manifest: the configs of its runs, and the `defaults` of the code that ran them.
"""

import json
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from analysis.io.methods import PRIORITIZED, REFERENCES, listed, ordered
from analysis.io.rows import Results
from moore.base.groups import grouped
from moore.base.strict import dotted, read_yaml

UPDATES, UTD = "offline.updates", "online.utd_ratio"
REAL_BATCHES, DRAWS = "sampling.real_batches", ("sampling.model_batches", "sampling.start_states")
SCHEDULE = ("sampling.decay_rate", "sampling.priority_exponent", "online.epoch_steps", "online.retrain_interval")
LENGTHS = ("online.rollout_length", "rollout.length")
MOORES = ("algorithm", "sampling", "penalty")  # what makes a method MOORe with other numbers
WITH_MODEL = "moore"  # the algorithm of MOORe and its relatives, and of manifests that do not name one
IDENTITY = ("env", "dataset", "seed", "method")  # which run it is
# besides these, what the columns of the table of methods say already
NOT_OWN = (
    *IDENTITY, "dataset_transitions", "keep_timeouts", "physics", "algorithm", "eval_episodes", "real_ratio",
    REAL_BATCHES, UPDATES, UTD,
)  # fmt: skip
# CQL (arXiv 2006.04779) and Balanced Replay (arXiv 2107.00591); a smaller number is a cheaper, weaker method.
PUBLISHED = {"agent.num_actions": 10, "agent.num_agents": 5}
PAPER = Path(__file__).resolve().parents[2] / "ablations" / "scales" / "paper.yaml"
SCALE = {  # what is said of a study's scale -> key of the config
    "N_off": "dataset_transitions",
    "S": "online.epoch_steps",
    "T": "online.epochs",
    "updates per online step": UTD,
    "offline updates": UPDATES,
    "hidden layers": "agent.hidden",
}
ABSENT = object()
_read = cache(read_yaml)


@lru_cache(maxsize=10_000)
def values(study: Results, method: str, key: str, dataset: str = "") -> list[Any]:
    """List the distinct values of a dotted key or section in a method's online runs, numbers ascending.

    Several where it depends on the task, unless one `dataset` is asked for; none where the manifest lacks the key.
    """
    found: list[Any] = []
    configs = [one for one in study.configs.get(method, []) if dataset in ("", one.get("dataset"))]
    for value in (lookup(config, key) for config in configs):
        if value is not ABSENT and value not in found:
            found.append(value)
    return sorted(found, key=lambda x: x if isinstance(x, (int, float)) else 0)


def text(several: Iterable[Any]) -> str:
    """Write values as in YAML: `0.5 or 1`, `true`, `[64, 64]`."""
    return " or ".join(x if isinstance(x, str) else f"{x:g}" if type(x) is float else json.dumps(x) for x in several)


def untrained(study: Results) -> list[str]:
    """List methods with a dataset but without an offline stage, such as RLPD: J_0 is of a policy that knows nothing."""
    return [m for m in ordered(study.methods) if m not in REFERENCES and values(study, m, UPDATES) == [0]]


def frozen(study: Results) -> list[str]:
    """List methods that never update online: the offline policy, evaluated along the online axis."""
    return [m for m in ordered(study.methods) if values(study, m, UTD) == [0]]


def without_stage(study: Results) -> list[str]:
    """List methods without an offline stage, for which there is no switch to drop at."""
    return [*REFERENCES, *untrained(study)]


def only_other_numbers(study: Results, method: str) -> bool:
    """Tell whether a method is the study's main one with other budgets: it learns, draws and penalises alike."""
    alike = all(values(study, method, key) == values(study, study.main, key) for key in MOORES)
    return bool(study.configs.get(method)) and alike and is_model_based(study, method)


def is_prioritized(study: Results, method: str) -> bool:
    """Tell whether the model's batches or the start states are drawn by the paper's priorities, as MOORe's are."""
    strategies = {name for key in DRAWS for name in values(study, method, key)}
    return bool(strategies & {PRIORITIZED, "return_prioritized"}) or (not strategies and method == study.main)


def rollout_lengths(study: Results, dataset: str, methods: Iterable[str]) -> list[int]:
    """List the distinct rollout lengths H of methods on one dataset: the online stage's own where it has one."""
    online, general = ({m: values(study, m, key, dataset) for m in methods} for key in LENGTHS)
    return sorted({length for m in online for length in [one for one in online[m] if one is not None] or general[m]})


def budgets(study: Results) -> str:
    """Say in one sentence how many updates every method has, where they differ, and what is not as published."""
    names, parts = ordered(study.methods), list[str]()
    given = {name: (text([0] if name in REFERENCES else values(study, name, UPDATES)), text(values(study, name, UTD)))
             for name in names}  # fmt: skip
    by_budget = grouped((name for name in names if all(given[name])), given.__getitem__)
    trained = {budget for budget, methods in by_budget.items() if not set(methods) <= set(REFERENCES)}
    if len(trained) > 1 or len({online for _, online in by_budget}) > 1:
        each = [f"{offline} + {online} ({', '.join(methods)})" for (offline, online), methods in by_budget.items()]
        parts.append("gradient updates, offline + per online step: " + ", ".join(each))
    for key, published in {"online.first_epoch_factor": 1, **PUBLISHED}.items():
        told = {name: text(values(study, name, key)) for name in names}
        deviating = (name for name in names if told[name] not in ("", text([published])))
        for value, methods in grouped(deviating, told.__getitem__).items():
            parts.append(
                f"{key} {value}, published {published} ({', '.join(methods)})" if key in PUBLISHED
                else f"{value} times as many in the first epoch of {listed(methods)}"
            )  # fmt: skip
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}." if parts else ""


def deviations(study: Results) -> str:
    """Say in one sentence which of MOORe's settings are not those of the scale `paper`, and how many seeds differ.

    Nothing for a study without configs in its manifest. N_off is what runs had, maybe fewer than were asked for.
    """
    found, scale = {name: values(study, study.main, key) for name, key in SCALE.items()}, _read(PAPER)
    datasets = study.manifest.get("datasets", {})
    had = {datasets.get(one.get("dataset"), {}).get("transitions") for one in study.configs.get(study.main, [])}
    found["N_off"] = sorted(had - {None}) or found["N_off"]
    if not any(found.values()):
        return ""
    parts = []
    for name, several in found.items():
        if several not in ([], [published := lookup(scale, f"defaults.{SCALE[name]}")]):
            parts.append(f"{name} {_spaced(several)} ({_spaced([published])})")
    seeds = study.owners.loc[study.owners["method"] == study.main, "seed"].nunique()
    if seeds != len(scale["seeds"]):
        parts.append(f"seeds {seeds} ({len(scale['seeds'])})")
    return f"Not at the paper's scale (its value in brackets): {', '.join(parts)}." if parts else ""


def own_settings(study: Results, method: str, reference: str) -> dict[str, str]:
    """Map the dotted keys that tell `method` from the others to their values.

    These are the values that differ from the defaults and from what `reference` has, since what those two share is the
    scale's; of a model's penalty all that differ from the defaults. Empty where the manifest does not have them.
    """
    out = {}
    defaults = study.manifest.get("defaults", {}).get(algorithm(study, method), {})
    for key, default in dotted(defaults).items():
        mine = values(study, method, key)
        if key in NOT_OWN or mine in ([], [default]):
            continue
        if mine != values(study, reference, key) or (key.startswith("penalty.") and is_model_based(study, method)):
            out[key] = text(mine)
    return out


def algorithm(study: Results, method: str) -> str:
    """Say who learns: `moore` or a baseline's agent."""
    return str((values(study, method, "algorithm") or [WITH_MODEL])[0])


def is_model_based(study: Results, method: str) -> bool:
    """Tell whether a method learns from imagined transitions."""
    return algorithm(study, method) == WITH_MODEL


def lookup(config: Any, key: str) -> Any:
    """Return the value under a dotted key, or `ABSENT`."""
    for name in key.split("."):
        config = config.get(name, ABSENT) if isinstance(config, dict) else ABSENT
    return config


def _spaced(several: list[Any]) -> str:
    """As in YAML, with spaces between thousands: `10 000 or 20 000`."""
    return " or ".join(f"{v:,}".replace(",", " ") if type(v) is int else text([v]) for v in several)
