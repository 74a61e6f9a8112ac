"""Runs a study on this machine: one process per core, live display, resumable, then tables and figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.live import Live
from rich.table import Table

from moore.checkpoint import offline_run_id
from moore.config import RunConfig, to_mapping
from moore.data.d4rl import d4rl_path
from moore.data.ids import resolve
from moore.data.load import self_path
from moore.data.minari import store_entry
from moore.errors import UserError
from moore.results import content_hash, run_id, write_json
from moore.study import Study

POLL_SECONDS = 0.5
# glibc returns large freed blocks at once, and every update pays for mapping them again: half of CQL's time
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
LINE_SECONDS = 60.0  # between two status lines where there is no terminal to redraw


def check_datasets(study: Study, root: Path) -> None:
    """UserError before anything is trained if a dataset of the study cannot be made or found."""
    for run in {run.dataset: run for run in study.runs}.values():
        if run.dataset is None:
            continue
        dataset = resolve(run.dataset)
        if dataset.source == "self":
            self_path(dataset, root / "data", run.dataset_transitions, physics=run.physics)
        elif dataset.source == "d4rl":
            d4rl_path(dataset.text)
        elif dataset.source == "minari":
            store_entry(dataset.text)
        elif dataset.path is not None and not dataset.path.is_file():
            raise UserError(f"{run.dataset}: {dataset.path} is not a file; accepted: a file in the D4RL v2 HDF5 schema")


def run_study(study: Study, root: Path, workers: int, device: str = "cpu") -> None:
    """Train every run of the study that has no finished rows yet.

    Raises UserError when a unit fails; finished runs are kept and the same call goes on with the others.
    """
    check_datasets(study, root)
    units = [Work(study, runs, root, device) for runs in study.cohorts()]
    waiting = sorted((unit for unit in units if not unit.finished()), key=lambda unit: -unit.cost)
    if not waiting:
        return
    running: list[Work] = []
    failed: list[Work] = []
    warned: set[str] = set()
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 140)
    started = shown = time.monotonic()
    before = sum(unit.progress() * unit.cost for unit in units)  # done in earlier calls
    try:
        with Live(console=console, refresh_per_second=2, transient=True) as live:
            while waiting or running:
                while len(running) < workers and not failed:
                    busy = {stage for unit in running for stage in unit.missing_stages()}
                    # a stage that another process trains already is waited for, not trained twice
                    ready = next((unit for unit in waiting if not busy & unit.missing_stages()), None)
                    if ready is None:
                        break
                    waiting.remove(ready)
                    ready.start()
                    running.append(ready)
                if not running:
                    break
                time.sleep(POLL_SECONDS)
                ended = [unit for unit in running if unit.process is not None and unit.process.poll() is not None]
                for warning in [text for unit in running for text in unit.status().get("warnings", [])]:
                    if warning not in warned:
                        warned.add(warning)
                        console.print(f"moore: warning: {warning}", soft_wrap=True, markup=False, highlight=False)
                for unit in ended:
                    running.remove(unit)
                    if unit.process is None or unit.process.returncode != 0 or not unit.finished():
                        failed.append(unit)
                if console.is_terminal:
                    live.update(_display(units, workers, started, before))
                elif time.monotonic() - shown > LINE_SECONDS:
                    shown = time.monotonic()
                    console.print(_display(units, workers, started, before))
    except KeyboardInterrupt:
        for unit in running:
            unit.stop()
        console.print("interrupted; the same command goes on from the last checkpoint")
        raise
    if failed:
        raise UserError("; ".join(unit.explain() for unit in failed))


def collect(study: Study, root: Path, out: Path, command: str) -> Path:
    """Write the study's rows as Parquet and its manifest to out/<study>/; returns that folder.

    The files are the same bytes when called again on the same rows.
    """
    folder = out / study.name
    folders = [root / study.name / "runs" / run_id(run) for run in study.runs]
    stages = sorted({offline_run_id(run) for run in study.runs if run.dataset is not None})
    folders += [root / study.name / "runs" / name for name in stages]
    frames, manifests = [], []
    for path in folders:
        frames.append(pd.read_csv(path / "rows.csv"))
        manifests.append(json.loads((path / "manifest.json").read_text()))
    rows = pd.concat(frames, ignore_index=True)
    first = study.runs[0]
    manifest = {
        "study": study.name,
        "scale": study.scale,
        "reference": study.reference,
        "axes": {name: dict(points) for name, points in study.axes.items()},
        "date": max(m["finished"] for m in manifests),
        "command": command,
        "git_commit": ", ".join(dict.fromkeys(m["git_commit"] for m in manifests)),
        "machine": manifests[0]["machine"],
        "packages": manifests[0]["packages"],
        "cpu_seconds": round(sum(m["cpu_seconds"] for m in manifests)),
        "wall_seconds": round(sum(m["wall_seconds"] for m in manifests)),
        "run_cpu_seconds": {m["run"]: m["cpu_seconds"] for m in manifests},
        "online_steps": first.online_steps,
        "eval_episodes": first.eval_episodes,
        "config": to_mapping(first),
        "peak_memory_mb": max(m["peak_memory_mb"] for m in manifests),
        "datasets": {m["config"]["dataset"]: m["dataset"] for m in manifests if m.get("dataset")},
        "physics_mismatch": _mismatches(manifests),
        "configs": {m["run"]: m["config"] for m in manifests},
        "offline_runs": {m["run"]: m["offline_run"] for m in manifests if m.get("offline_run")},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / "rows.parquet.tmp"
        rows.to_parquet(temporary, index=False, compression="zstd")
        os.replace(temporary, folder / "rows.parquet")
        write_json(folder / "manifest.json", manifest)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot write results ({error.strerror}); choose another folder with --out"
        ) from None
    return folder


def _mismatches(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the runs' manifests say of datasets in another physics, once for every dataset and physics of the runs."""
    entries = [m for m in manifests if m.get("physics_mismatch")]
    found = [{"dataset": m["config"]["dataset"], **m["physics_mismatch"]} for m in entries]
    return [entry for index, entry in enumerate(found) if entry not in found[:index]]


class Work:
    """One unit as a process of its own."""

    def __init__(self, study: Study, runs: list[RunConfig], root: Path, device: str) -> None:
        self.study, self.runs, self.root, self.device = study, runs, root, device
        methods = list(dict.fromkeys(run.method for run in runs))
        label = (
            f"{runs[0].dataset or runs[0].env}-{'+'.join(methods) if len(methods) < 4 else f'{len(methods)}-methods'}"
        )
        digest = content_hash([to_mapping(run) for run in runs])[:8]
        self.name = f"{label.replace(':', '-').replace('/', '-')}-{digest}"
        self.folder = root / study.name / "units"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def cost(self) -> float:
        """Rough relative cost, to start long units first and to guess the time left."""
        run = self.runs[0]
        seeds = len({r.seed for r in self.runs})
        offline = run.offline.updates * seeds * _update_cost(run, run.cql.offline_coef) if run.dataset else 0
        online = run.online_steps * run.online.utd_ratio * len(self.runs) * _update_cost(run, run.cql.online_coef)
        return (offline + online) * run.sac.batch_size * sum(run.sac.hidden)

    def missing_stages(self) -> set[str]:
        """Offline stages of this unit that have not been published yet, by run id."""
        stages = {offline_run_id(run) for run in self.runs if run.dataset is not None}
        return {name for name in stages if not (self.root / self.study.name / "runs" / name / "manifest.json").exists()}

    def finished(self) -> bool:
        """Whether every run has its manifest, which is written last."""
        return all((self.root / self.study.name / "runs" / run_id(run) / "manifest.json").exists() for run in self.runs)

    def start(self) -> None:
        """Start the process; the unit continues from its checkpoint if there is one."""
        spec = {
            "study": self.study.name,
            "name": self.name,
            "root": str(self.root),
            "device": self.device,
            "parent": os.getpid(),
            "runs": [to_mapping(run) for run in self.runs],
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{self.name}.json"
            write_json(path, spec)
            log = (self.folder / f"{self.name}.log").open("ab")
        except OSError as error:
            raise UserError(
                f"{self.folder}: cannot write ({error.strerror}); choose another folder with --root"
            ) from None
        # one thread for each process: two oversubscribed torch processes are ten times slower
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | KEEP_MEMORY
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moore.unit", str(path)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        log.close()

    def stop(self) -> None:
        """End the process; what it did since its last checkpoint is done again next time."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def status(self) -> dict[str, Any]:
        """What the process last said about itself."""
        try:
            return json.loads((self.folder / f"{self.name}.progress.json").read_text())
        except (OSError, ValueError):
            return {}

    def progress(self) -> float:
        """Share of the unit's work that is done; the offline stage is about a third of it."""
        if self.finished():
            return 1.0
        status = self.status()
        within = float(status.get("done", 0)) / max(1, status.get("total", 1))
        if self.runs[0].dataset is None:
            return within
        return 0.35 + 0.65 * within if str(status.get("label", "")).startswith("online") else 0.35 * within

    def explain(self) -> str:
        """The last line of a failed unit's log."""
        path = self.folder / f"{self.name}.log"
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return f"{self.name} failed: {lines[-1].removeprefix('moore: ') if lines else 'no output'} (log: {path})"


def _update_cost(run: RunConfig, cql_coef: float) -> float:
    """Arithmetic of an update relative to SAC's, roughly; a model about doubles it."""
    critics = run.sac.num_critics / 2
    if run.algorithm not in ("cql", "balanced_replay"):
        return (2.0 if run.uses_model else 1.0) * critics
    conservative = 1.2 * run.cql.num_actions if cql_coef else 0.0
    return (1.0 + conservative) * (run.balanced_replay.num_agents if run.algorithm == "balanced_replay" else critics)


def _display(units: list[Work], workers: int, started: float, before: float) -> Table:
    """What runs, how far, the mean score of each method now, and when it ends."""
    table = Table(title=None, box=None, pad_edge=False)
    for column in ("unit", "stage", "done", "scores now"):
        table.add_column(column, no_wrap=column != "scores now")
    for unit in units:
        status = unit.status()
        label = "done" if unit.finished() else status.get("label", "waiting")
        scores = "  ".join(f"{name} {value:.0f}" for name, value in status.get("scores", {}).items())
        table.add_row(unit.name.rsplit("-", 1)[0], label, f"{100 * unit.progress():.0f} %", scores)
    elapsed = time.monotonic() - started
    total, done = sum(unit.cost for unit in units), sum(unit.progress() * unit.cost for unit in units)
    remaining = elapsed * (total - done) / (done - before) if done - before > 0.02 * total else float("nan")
    eta = f"about {remaining / 60:.0f} min left" if remaining == remaining else "estimating"
    table.caption = f"{elapsed / 60:.1f} min, {eta}, {workers} processes"
    return table
