"""One unit as a process of its own: what it is named, what it costs, how far it is, why it failed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from moore.checkpoint import offline_config, offline_run_id
from moore.config import RunConfig, to_mapping
from moore.errors import UserError
from moore.results import content_hash, run_id, write_json
from moore.runs import is_finished
from moore.signals import SIGNALS, STOPPED
from moore.study import Study

# glibc returns large freed blocks at once, and every update pays for mapping them again: half of CQL's time
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}


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
        self.runs_root = root / study.name / "runs"
        self.process: subprocess.Popen[bytes] | None = None
        self._finished = False  # once finished, the display need not look again

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
        stages = {offline_run_id(run): offline_config(run) for run in self.runs if run.dataset is not None}
        return {name for name, config in stages.items() if not is_finished(self.runs_root / name, config)}

    def finished(self) -> bool:
        """Whether every run has its rows and manifest. Raises UserError where they are of another configuration."""
        self._finished = self._finished or all(is_finished(self.runs_root / run_id(run), run) for run in self.runs)
        return self._finished

    def forget_checkpoints(self) -> None:
        """Delete what a process left that was killed when its runs were finished already."""
        folder = self.root / self.study.name / "checkpoints"
        for path in folder.iterdir() if folder.exists() else ():
            if path.name.startswith(f"{self.name}."):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

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

    def tell(self, number: signal.Signals) -> None:
        """Send the process a signal: SIGKILL ends it now, the others at its next safe point."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> None:
        """Until the process has ended."""
        assert self.process is not None
        self.process.wait()

    def ended_well(self) -> bool:
        """Whether the process has ended with every run finished."""
        assert self.process is not None
        return self.process.returncode == 0 and self.finished()

    def was_stopped(self) -> bool:
        """Whether the process has ended because it was told to, and can go on; also by a signal before it listened."""
        assert self.process is not None
        return self.process.returncode in (STOPPED, *(-number for number in SIGNALS))

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
        """How a failed unit ended, and the last line of its log."""
        path = self.folder / f"{self.name}.log"
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        code = self.process.returncode if self.process is not None else 0
        killed = f"killed by {signal.Signals(-code).name}; " if code < 0 else ""
        last = lines[-1].removeprefix("moore: ") if lines else "no output"
        return f"{self.name} failed: {killed}{last} (log: {path})"


def _update_cost(run: RunConfig, cql_coef: float) -> float:
    """Arithmetic of an update relative to SAC's, roughly; a model about doubles it."""
    critics = run.sac.num_critics / 2
    if run.algorithm not in ("cql", "balanced_replay"):
        return (2.0 if run.uses_model else 1.0) * critics
    conservative = 1.2 * run.cql.num_actions if cql_coef else 0.0
    return (1.0 + conservative) * (run.balanced_replay.num_agents if run.algorithm == "balanced_replay" else critics)
