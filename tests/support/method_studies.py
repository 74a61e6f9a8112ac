"""Synthetic studies that compare methods: real configs, run ids and manifests, made-up scores at `GRID`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from analysis.io.rows import Results
from moore.algorithm.config import RunConfig, to_mapping
from moore.studies.identity import dataset_label, offline_config, offline_method, offline_run_id, run_id
from moore.studies.study import METHODS, load_study
from tests.support.studies import GRID, LOW, MEDIUM, Row, make_study, row, run_rows

# A budget of 1000 online steps; methods that would explore for longer than that get less.
SCALE: dict[str, Any] = yaml.safe_load("""
scale: toy
defaults:
  dataset_transitions: 4000
  real_ratio: 0.25
  agent: {hidden: [32, 32], num_actions: 4, num_agents: 3}
  offline: {updates: 3000}
  online: {epochs: 10, epoch_steps: 100, retrain_interval: 50, utd_ratio: 2}
""")
EXPLORING = {name: {"online": {"exploration_steps": 50}} for name in ("sac", "mbpo", "mbpo_plus", "redq", "rlpd")}
SCALE["methods"] = EXPLORING | {"wsrl": {"online": {"warmup_steps": 50}}}
ALL = list(yaml.safe_load(METHODS.read_text(encoding="utf-8")))
SHARED = ["moore", "mbpo_warm", "mopo_naive", "mopo"]  # MOPO's stage
ENDS = {"awac": 40.0, "cql_sac": 45.0, "cal_ql": 50.0, "wsrl": 55.0, "rlpd": 1.0, "mbpo": 0.0}
PENALTIES = {LOW: 0.5, MEDIUM: 1.0}
Scores = Callable[[RunConfig], Sequence[float]]


def flat_scores(levels: Mapping[str, Sequence[float]], j0: float = 50.0) -> Scores:
    """J_0 = j0, then the method's level of the seed."""
    return lambda run: [j0, *[levels[run.method][run.seed]] * (len(GRID) - 1)]


def from_ends(run: RunConfig) -> list[float]:
    """J_0 is where the method's offline stage ends: 70 for MOPO's; then the method stays 5 points above it."""
    j0 = ENDS.get(run.method, 70.0) + run.seed
    return [j0, *[j0 + 5] * (len(GRID) - 1)]


def runs_of(
    folder: Path, methods: Sequence[str], seeds: int, datasets: Sequence[str] = (LOW, MEDIUM)
) -> list[RunConfig]:
    """The runs of a study of these methods of moore/agents/methods.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    study, scale = folder / "study.yaml", folder / "scale.yaml"
    envs = {name: name.split(":")[1].split("-")[0] for name in datasets}
    tasks = [{"env": envs[d], "dataset": d, "penalty": {"coef": PENALTIES.get(d, 1.5)}} for d in datasets]
    study.write_text(yaml.safe_dump({"study": "toy", "methods": list(methods)}), encoding="utf-8")
    scale.write_text(yaml.safe_dump(SCALE | {"seeds": list(range(seeds)), "tasks": tasks}), encoding="utf-8")
    return load_study(study, scale).runs


def online_rows(run: RunConfig, scores: Sequence[float]) -> list[Row]:
    """Evaluations at the first len(scores) steps of `GRID`."""
    return [{**one, "run": run_id(run)} for one in run_rows(run.method, dataset_label(run), run.seed, scores)]


def offline_rows(run: RunConfig, end: float) -> list[Row]:
    """The offline stage that a run starts from: from 0 up to `end`; one evaluation if there are no updates."""
    owner, total = (offline_method(run), dataset_label(run), run.seed), run.offline.updates
    points = [(total * k // 6, end * k / 6) for k in range(7)] if total else [(0, end)]
    return [{**row(*owner, "offline", u, "eval/score", y), "run": offline_run_id(run)} for u, y in points]


def method_manifest(runs: Sequence[RunConfig]) -> dict[str, Any]:
    """What `moore reproduce` writes about configs and offline stages."""
    staged = [run for run in runs if run.dataset is not None]
    configs = {run_id(run): to_mapping(run) for run in runs}
    configs |= {offline_run_id(run): to_mapping(offline_config(run)) for run in staged}
    offline_runs = {run_id(run): offline_run_id(run) for run in staged}
    defaults = {run.algorithm: to_mapping(RunConfig(run.env, algorithm=run.algorithm)) for run in runs}
    return {"config": to_mapping(runs[0]), "configs": configs, "defaults": defaults, "offline_runs": offline_runs}


def method_rows(runs: Sequence[RunConfig], scores: Scores) -> list[Row]:
    """Online rows of all runs and the rows of their offline stages, each stage once."""
    rows = [one for run in runs for one in online_rows(run, scores(run))]
    stages = {offline_run_id(run): run for run in runs if run.dataset is not None}
    return rows + [one for run in stages.values() for one in offline_rows(run, scores(run)[0])]


def method_study(
    folder: Path, methods: Sequence[str], seeds: int, scores: Scores, datasets: Sequence[str] = (LOW, MEDIUM)
) -> Results:
    runs = runs_of(folder, methods, seeds, datasets)
    return make_study(method_rows(runs, scores), **method_manifest(runs))
