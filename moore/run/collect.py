"""Collects the rows of finished runs into the one file that tables and figures are made of."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from moore.algorithm.config import RunConfig, to_mapping
from moore.base.errors import UserError
from moore.base.files import replacing, write_json
from moore.base.manifest import pack
from moore.base.rows import read_rows
from moore.studies.flops import stage_tflop
from moore.studies.identity import offline_stages, run_id
from moore.studies.study import Study


def collect(study: Study, root: Path, out: Path, command: str) -> Path:
    """Write the study's rows as Parquet and its manifest to out/<study>/; returns that folder.

    The files are the same bytes when called again on the same rows. Raises UserError where they cannot be written, or
    the runs' data is not the same.
    """
    folder = out / study.name
    names = [*map(run_id, study.runs), *sorted(offline_stages(study.runs))]
    folders = [root / study.name / "runs" / name for name in names]
    manifests = [json.loads((path / "manifest.json").read_text()) for path in folders]
    _check_one_content(manifests)
    rows = pd.concat([read_rows(path / "rows.csv") for path in folders], ignore_index=True)
    first = study.runs[0]
    algorithms = dict.fromkeys(run.algorithm for run in study.runs)
    manifest = {
        "study": study.name,
        "scale": study.scale,
        "reference": study.reference,
        "axes": {name: dict(points) for name, points in study.axes.items()},
        "date": max(m["finished"] for m in manifests),
        "command": command,
        "git_commit": ", ".join(dict.fromkeys(commit for m in manifests for commit in m["git_commit"].split(", "))),
        "machine": ", ".join([manifests[0]["machine"], *(m["gpu"]["name"] for m in manifests[:1] if "gpu" in m)]),
        "packages": manifests[0]["packages"],
        "cpu_seconds": round(sum(m["cpu_seconds"] for m in manifests)),
        "wall_seconds": round(sum(m["wall_seconds"] for m in manifests)),
        "run_cpu_seconds": {m["run"]: m["cpu_seconds"] for m in manifests},
        "run_tflop": tflops(study.runs, rows),
        "online_steps": first.online_steps,
        "eval_episodes": first.eval_episodes,
        "config": to_mapping(first),
        "defaults": {name: to_mapping(RunConfig(first.env, algorithm=name)) for name in algorithms},
        "peak_memory_mb": max(m["peak_memory_mb"] for m in manifests),
        "datasets": {m["config"]["dataset"]: m["dataset"] for m in manifests if m.get("dataset")},
        "physics_mismatch": _mismatches(manifests),
        "configs": {m["run"]: m["config"] for m in manifests},
        "offline_runs": {m["run"]: m["offline_run"] for m in manifests if m.get("offline_run")},
    }
    with replacing(folder / "rows.parquet", "; choose another folder with --out") as file:
        rows.to_parquet(file, index=False, compression="zstd")
    write_json(folder / "manifest.json", pack(manifest))
    return folder


def tflops(runs: Sequence[RunConfig], rows: pd.DataFrame) -> dict[str, float]:
    """Compute the arithmetic of every run and offline stage, in TFLOP, with the ensemble's updates as logged."""
    trainings = rows[rows["metric"] == "model/updates"].groupby("run")
    logged = {run: dict(zip(mine["env_steps"], mine["value"], strict=True)) for run, mine in trainings}
    stages = {run_id(run): (run, "online") for run in runs}
    stages |= {name: (config, "offline") for name, config in offline_stages(runs).items() if config.offline.updates}
    counted = {name: stage_tflop(config, stage, logged.get(name, {})) for name, (config, stage) in stages.items()}
    return {name: float(f"{tflop:.4g}") for name, tflop in counted.items()}


def _check_one_content(manifests: list[dict[str, Any]]) -> None:
    """Refuse runs whose datasets differ: one that changed while units started gave them other data under one name."""
    hashes: dict[str, str] = {}
    for m in manifests:
        name, data = m["config"]["dataset"], m.get("dataset")
        if data and hashes.setdefault(name, data["sha256"]) != data["sha256"]:
            raise UserError(f"{name} changed while it was trained on; accepted: the same command again, for all of it")


def _mismatches(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Collect what manifests say of datasets in another physics, once for each dataset and physics of the runs."""
    entries = [m for m in manifests if m.get("physics_mismatch")]
    found = [{"dataset": m["config"]["dataset"], **m["physics_mismatch"]} for m in entries]
    return [entry for index, entry in enumerate(found) if entry not in found[:index]]
