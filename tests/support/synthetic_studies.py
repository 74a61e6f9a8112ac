"""Synthetic studies of any size: scores, uncertainty and model diagnostics of every run, from seeded noise.

Every method rises from the score of its offline stage to a level of its own; MOORe and its variants also log what the
suite logs once an epoch (moore/algorithm/moore.py, moore/algorithm/diagnostics.py). Nothing here was measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.io.methods import MOORE, REFERENCES
from analysis.io.rows import Results, environment, validate
from moore.base.rows import COLUMNS
from moore.base.strict import dotted, nested

Array = npt.NDArray[np.float64]
ENVIRONMENTS = ("halfcheetah", "hopper", "walker2d")
QUALITIES = ("medium", "medium-expert", "medium-replay", "random")
TWELVE = tuple(f"d4rl:{env}-{quality}-v2" for env in ENVIRONMENTS for quality in QUALITIES)
METHODS = (
    MOORE, "balanced_replay", "awac", "iql", "cal_ql", "cql_sac", "td3_bc", "rlpd", "wsrl", "mbpo_warm", "mopo",
    *REFERENCES,
)  # fmt: skip
RATES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
NAMES = [f"decay_rate-{rate:g}" for rate in RATES]  # the variants of `sweep`
EPOCHS = 10
LEVELS = tuple(range(25, 1000, 50))
COVERAGES = (50, 80, 90, 95)
OFFLINE_UPDATES = 1000


def study(
    methods: Sequence[str] = METHODS,
    datasets: Sequence[str] = TWELVE,
    seeds: int = 3,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    diagnosed: Sequence[str] = (MOORE,),
    steps: int = 1000,
    evaluations: int = 20,
    epochs: int = EPOCHS,
    **manifest: Any,
) -> Results:
    """Runs of every method on every dataset (references once for each environment), evaluated at equal distances.

    `settings`: dotted config keys of a method; `diagnosed`: the methods with rows of every epoch besides the scores.
    """
    own, runs = settings or {}, []
    scratch = list(dict.fromkeys(f"none:{environment(name)}" for name in datasets))
    for method in methods:
        for dataset in scratch if method in REFERENCES else datasets:
            runs += [(method, dataset, seed, f"{method}/{dataset}/{seed}") for seed in range(seeds)]
    offline = [("mopo", dataset, seed, f"stage/{dataset}/{seed}") for dataset in datasets for seed in range(seeds)]
    rng = np.random.default_rng(0)
    grid = np.linspace(0, steps, evaluations + 1).round()
    frames = [_scores(rng, runs, list(methods), grid), _stages(rng, offline)]
    mine = [run for run in runs if run[0] in diagnosed]
    frames += [_diagnostics(rng, mine, steps, epochs, own)] if mine and epochs else []
    starts = {run: f"stage/{dataset}/{seed}" for method, dataset, seed, run in runs if method not in REFERENCES}
    known: dict[str, Any] = {
        "study": "toy", "scale": "paper", "date": "2026-01-02", "command": "make it_all", "git_commit": "0123456789ab",
        "cpu_seconds": 3600.0, "online_steps": steps, "eval_episodes": 10, "offline_runs": starts,
        "datasets": {name: {"transitions": transitions(steps, epochs)} for name in datasets},
        "configs": {run[3]: _config(run, own.get(run[0], {}), steps, epochs) for run in runs},
    }  # fmt: skip
    return Results("toy", validate(pd.concat(frames, ignore_index=True), "toy"), known | manifest)


def small(**changes: Any) -> Results:
    """Two methods on two datasets with three seeds, unless changed."""
    given: dict[str, Any] = {"methods": ("moore", "awac"), "datasets": TWELVE[:2], "seeds": 3}
    return study(**(given | changes))


def scores_only(*tasks: int, **changes: Any) -> Results:
    """MOORe, AWAC and SAC on these of the twelve tasks, with scores alone."""
    given: dict[str, Any] = {"methods": ("moore", "awac", "sac"), "epochs": 0, "diagnosed": ()}
    return study(**(given | {"datasets": [TWELVE[task] for task in tasks]} | changes))


def variants(settings: Mapping[str, Mapping[str, Any]], **changes: Any) -> Results:
    """Methods with these settings on one dataset, two seeds, scores alone."""
    return scores_only(0, **({"methods": list(settings), "settings": settings, "seeds": 2} | changes))


def with_rows(made: Results, rows: pd.DataFrame) -> Results:
    """The study with other rows."""
    return Results(made.name, rows.reset_index(drop=True), made.manifest)


def transitions(steps: int, epochs: int) -> int:
    """N_off of the paper's shape, N_off / (S T²) = 0.1."""
    return steps * max(epochs, 1) // 10


def sweep(key: str = "sampling.decay_rate", values: Sequence[float] = RATES, **changes: Any) -> Results:
    """Variants of MOORe that differ in one number, on two datasets; the reference has the value 1."""
    name = key.rsplit(".", 1)[-1]
    settings = {f"{name}-{value:g}": {key: value} for value in values}
    given: dict[str, Any] = {
        "datasets": TWELVE[:2], "diagnosed": list(settings), "reference": f"{name}-1",
    }  # fmt: skip
    return study(list(settings), settings=settings, **(given | changes))


def _scores(rng: np.random.Generator, runs: Sequence[tuple[Any, ...]], methods: list[str], grid: Array) -> pd.DataFrame:
    """Online evaluations [len(runs), len(grid)]."""
    rank = np.array([methods.index(run[0]) for run in runs])[:, None]
    scratch = np.array([run[0] in REFERENCES for run in runs])[:, None]
    start = np.where(scratch, 0.0, 30.0) + 5 * rng.normal(size=(len(runs), 1))
    rise = 1 - np.exp(-(3 + 4 / (1 + rank)) * grid / grid[-1])
    top = 95 - 4 * rank + 8 * rng.normal(size=(len(runs), 1))
    values = start + (top - start) * rise + 2 * rng.normal(size=(len(runs), len(grid)))
    return _frame(runs, "online", grid, {"eval/score": values})


def _stages(rng: np.random.Generator, runs: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Offline evaluations and uncertainty at eleven numbers of updates."""
    updates = np.linspace(0, OFFLINE_UPDATES, 11)
    noise = rng.normal(size=(len(runs), len(updates)))
    u = 2 + np.exp(-updates / 200) + 0.05 * noise
    return _frame(
        runs, "offline", updates,
        {"eval/score": 30 * updates / OFFLINE_UPDATES + noise, "penalty/mean": u, "penalty/q20": 0.3 * u,
         "penalty/q80": 1.8 * u},
    )  # fmt: skip


def _diagnostics(
    rng: np.random.Generator, runs: Sequence[tuple[Any, ...]], steps: int, epochs: int, own: Mapping[str, Any]
) -> pd.DataFrame:
    """Once an epoch: uncertainty and its change, shares at the epoch's end, open-loop errors, coverage, ranks."""
    ends = np.arange(1, epochs + 1) * (steps // epochs)
    t = np.arange(1, epochs + 1)

    def noisy(curve: Array, size: float) -> Array:
        return np.asarray(curve + size * rng.normal(size=(len(runs), epochs)))

    u = noisy(2.2 * np.exp(-t / epochs), 0.05)
    rate = np.array([own.get(run[0], {}).get("sampling.decay_rate", 1.0) for run in runs])[:, None]
    share = ends / (ends + transitions(steps, epochs) / (rate * t))
    metrics = {
        "penalty/mean": u, "penalty/q20": 0.3 * u, "penalty/q80": 1.8 * u,
        "sampling/model_batches_online_share": share, "sampling/start_states_online_share": noisy(share, 0.005),
        "model/error_rank_correlation": noisy(0.4 + 0.3 * t / epochs, 0.05),
    }  # fmt: skip
    from_normal = np.sort(rng.normal(size=(2001,)))[[2 * level for level in LEVELS]]
    for level, z in zip(LEVELS, from_normal, strict=True):
        metrics[f"penalty/relative_change_q{level:03}"] = noisy(0.01 * z / np.sqrt(t), 1e-4)
    for h in range(1, 11):
        metrics[f"model/open_loop_error_{h}"] = np.abs(noisy(0.1 * h**0.8 * (1.5 - t / epochs), 0.01))
    for nominal in COVERAGES:
        metrics[f"model/coverage_{nominal}"] = noisy(nominal / 100 * (0.8 + 0.15 * t / epochs), 0.01)
    return _frame(runs, "online", ends.astype(float), metrics)


def _frame(runs: Sequence[tuple[Any, ...]], phase: str, x: Array, metrics: Mapping[str, Array]) -> pd.DataFrame:
    """Rows of `metrics`, each [runs, x]; x counts environment steps online and updates offline."""
    owners = pd.DataFrame(runs, columns=["method", "dataset", "seed", "run"])
    columns = {name: np.repeat(owners[name].to_numpy(), len(x)) for name in owners}
    points = np.tile(x, len(runs)).astype(int)
    columns |= {"env_steps": points if phase == "online" else 0 * points, "updates": points}
    frame = pd.DataFrame(columns).assign(study="toy", phase=phase, wall_seconds=0.5)
    return pd.concat([frame.assign(metric=name, value=values.ravel()) for name, values in metrics.items()])[[*COLUMNS]]


def _config(run: tuple[Any, ...], own: Mapping[str, Any], steps: int, epochs: int) -> dict[str, Any]:
    """The part of a run's config that figures read, with the method's own keys."""
    method, dataset, seed, _ = run
    config = {
        "env": environment(dataset), "dataset": dataset, "seed": seed, "method": method, "algorithm": "moore",
        "real_ratio": 0.05, "eval_episodes": 10,
        "sampling": {"model_batches": "prioritized", "start_states": "prioritized", "decay_rate": 1.0},
        "rollout": {"length": 5}, "offline": {"updates": OFFLINE_UPDATES},
        "online": {"utd_ratio": 20, "epoch_steps": steps // max(epochs, 1), "epochs": epochs},
    }  # fmt: skip
    return nested({**dotted(config), **own})
