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

from moore.checkpoint import offline_config
from moore.config import RunConfig, to_mapping
from moore.data.ids import resolve
from moore.data.load import d4rl_path, self_path
from moore.errors import UserError
from moore.results import content_hash, run_id, write_json
from moore.study import Study

POLL_SECONDS = 0.5
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
            d4rl_path(dataset)
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
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 140)
    started = shown = time.monotonic()
    before = sum(unit.progress() * unit.cost for unit in units)  # done in earlier calls
    try:
        with Live(console=console, refresh_per_second=2, transient=True) as live:
            while waiting or running:
                while waiting and len(running) < workers and not failed:
                    unit = waiting.pop(0)
                    unit.start()
                    running.append(unit)
                if not running:
                    break
                time.sleep(POLL_SECONDS)
                for unit in [unit for unit in running if unit.process is not None and unit.process.poll() is not None]:
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
    stages = sorted({run_id(offline_config(run)) for run in study.runs if run.dataset is not None})
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
        "date": max(m["finished"] for m in manifests),
        "command": command,
        "git_commit": ", ".join(dict.fromkeys(m["git_commit"] for m in manifests)),
        "machine": manifests[0]["machine"],
        "packages": manifests[0]["packages"],
        "cpu_seconds": round(sum(m["cpu_seconds"] for m in manifests)),
        "wall_seconds": round(sum(m["wall_seconds"] for m in manifests)),
        "online_steps": first.online_steps,
        "eval_episodes": first.eval_episodes,
        "config": to_mapping(first),
        "peak_memory_mb": max(m["peak_memory_mb"] for m in manifests),
        "datasets": {m["config"]["dataset"]: m["dataset"] for m in manifests if m.get("dataset")},
        "configs": {m["run"]: m["config"] for m in manifests},
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


class Work:
    """One unit as a process of its own."""

    def __init__(self, study: Study, runs: list[RunConfig], root: Path, device: str) -> None:
        self.study, self.runs, self.root, self.device = study, runs, root, device
        label = runs[0].dataset or f"{runs[0].method}:{runs[0].env}"
        digest = content_hash([to_mapping(run) for run in runs])[:8]
        self.name = f"{label.replace(':', '-').replace('/', '-')}-{digest}"
        self.folder = root / study.name / "units"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def cost(self) -> float:
        """Rough relative cost, to start long units first."""
        run = self.runs[0]
        seeds = len({r.seed for r in self.runs})
        offline = run.offline.updates * seeds if run.dataset else 0
        online = run.online_steps * run.online.utd_ratio * len(self.runs)
        return (offline + online) * (2 if run.uses_model else 1) * run.sac.batch_size * sum(run.sac.hidden)

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
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
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
