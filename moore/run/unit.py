"""One unit of work: a cohort's offline stage, forks and online stage in one process, resumable.

python -m moore.run.unit runs/sampling-mini/units/0.json

Exit code 0: done; 75: told to stop, by a signal or because the parent process is gone, the same command goes on; 2: bad
input; 74: a full disk or a file in use, another attempt may do. Anything else is a failure.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig, from_mapping, to_mapping
from moore.algorithm.moore import moore
from moore.algorithm.mopo import mopo
from moore.base.errors import Unavailable, UserError
from moore.base.files import replacing, write_json
from moore.base.lock import locked
from moore.base.machine import peak_bytes
from moore.run.checkpoints import Checkpoints
from moore.run.claim import Claim
from moore.run.facts import environment_facts
from moore.run.folders import check_same, is_finished, read_manifest
from moore.run.offline_cache import OfflineCache
from moore.run.recorder import Recorder, missing_rows
from moore.run.sealed import Damaged
from moore.run.stop import STOPPED, SafePoints, Stopped, StopRequest
from moore.run.unit_data import UnitData
from moore.run.units import PARENT
from moore.studies import identity
from moore.studies.identity import offline_method, run_id

CHECKPOINT_SECONDS = 30.0  # between two checkpoints, or more; see SafePoints
PATIENCE = 180.0  # seconds that an earlier process on the same unit gets to reach its safe point


class Unit:
    """Trains the runs of one cohort from data to finished rows."""

    def __init__(self, spec: dict[str, Any], spec_path: Path, stop: StopRequest | None = None) -> None:
        self.study, self.root = spec["study"], Path(spec["root"])
        self.name: str = spec["name"]
        self.configs = [from_mapping(values, str(spec_path)) for values in spec["runs"]]
        self.device, parent = spec["device"], os.environ.get(PARENT)
        self.parent = int(parent) if parent else None
        self.offline_only: bool = spec.get("offline_only", False)
        self.stop = stop or StopRequest()
        self.folder = self.root / self.study
        self.progress_path = self.folder / "units" / f"{self.name}.progress.json"
        self.runs_root = self.folder / "runs"
        claim = self.folder / "units" / f"{self.name}.claim.json"
        self.claim = Claim(claim, spec.get("submission"), spec.get("progress", 0.0))
        self._takes_over = spec.get("submission") is not None  # the scheduler says that no other process has it
        # of this unit: two may train the same stage at once
        self._offline_rows = self.folder / "checkpoints" / f"{self.name}.offline-rows"
        self._facts = environment_facts()  # of the code that runs, whatever happens to the checkout meanwhile
        self._notes: list[str] = []  # what was found damaged or changed
        self._data, self._cache = UnitData(self.root), OfflineCache(self.root)
        self._commits: list[str] = []  # of the code that has trained the stage under way

    def run(self) -> None:
        """Train: data, offline stage for the (dataset, seed) pairs not yet in the cache, then all online runs."""
        if self._takes_over:
            self.claim.take()  # an earlier process, cut off but alive, lets go of the lock at its next checkpoint
        with locked(self.folder / "units" / f"{self.name}.lock", f"unit {self.name}", PATIENCE):
            if not self._takes_over:
                self.claim.take()
            if not self._is_finished():  # by an earlier process, which this one has waited for
                self._train()
            self._checkpoints().remove()
            self._show({"label": "done", "done": 1, "total": 1})
            self.claim.give_back()

    def _train(self) -> None:
        self._data.load(self.configs, lambda label: self._show({"label": label}))
        keys = [self._key(config) for config in self.configs if config.dataset is not None]
        stages = {k: identity.offline_config(c) for k, c in zip(keys, self.configs, strict=False)}
        checkpoints = self._checkpoints()
        online = None if self.offline_only else checkpoints.load(self._check_online)
        if online is None:  # else the offline stages have been there, and are not needed any more
            missing = {key for key in stages if not self._cache.has(key, self._note)}
            if missing:
                self._offline(stages, missing)
            self._offline_checkpoints().remove()
            if self._offline_rows.exists():
                shutil.rmtree(self._offline_rows)
            for key, config in stages.items():
                self._publish_offline_rows(key, config)
            self.stop.check()
        if not self.offline_only:
            self._online(checkpoints, online, keys)

    def _is_finished(self) -> bool:
        if self.offline_only:
            stages = {identity.offline_run_id(config): identity.offline_config(config) for config in self.configs}
            return all(is_finished(self.runs_root / name, stage) for name, stage in stages.items())
        return all(is_finished(self.runs_root / run_id(config), config) for config in self.configs)

    def _offline(self, stages: dict[str, RunConfig], missing: set[str]) -> None:
        """Train the stages that are missing; those that began together end together, as rounding depends on it."""
        rows, checkpoints = self._offline_rows, self._offline_checkpoints()

        def check(saved: dict[str, Any]) -> None:
            if not missing <= set(saved["keys"]) <= set(stages):
                raise Damaged("it is of other data or other stages")
            names = [identity.offline_run_id(stages[key]) for key in saved["keys"]]
            self._check(saved, [rows / name / "rows.csv" for name in names])

        saved = checkpoints.load(check)
        keys = saved["keys"] if saved else [key for key in stages if key in missing]
        configs = [stages[key] for key in keys]
        names = [identity.offline_run_id(config) for config in configs]
        recorder = Recorder(rows, "", configs, self._show, names, self.claim.check)
        cohort = Cohort(configs, self._data.transitions, "offline", self.device)
        self._begin(recorder, saved)
        if saved:
            cohort.load(saved["cohort"])

        def save() -> None:
            self.claim.check()
            checkpoints.save(self._header(recorder) | {"keys": keys, "cohort": cohort.state()})

        safe_point = SafePoints(save, self.stop, CHECKPOINT_SECONDS, self.parent)
        with self.stop.deferred():
            mopo(cohort, recorder, safe_point)
            safe_point.save()  # killed between two files of the cache, the others are then still of this cohort
            facts = self._facts | {"git_commit": ", ".join(self._commits)}
            self._cache.fill(keys, cohort, recorder, facts)

    def _offline_checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder / "checkpoints" / f"{self.name}.offline.pt", self.device, self._note)

    def _publish_offline_rows(self, key: str, config: RunConfig) -> None:
        """Copy an offline stage's rows, cached with its checkpoint, beside the runs that start from it."""
        name = identity.offline_run_id(config)
        folder = self.runs_root / name
        if is_finished(folder, config) and (read_manifest(folder) or {}).get("cache_key") == key:
            return
        saved = self._cache.read(key)
        lines = saved["rows"].splitlines()
        with replacing(folder / "rows.csv") as file:
            file.write(("\n".join([lines[0], *(self.study + line for line in lines[1:])]) + "\n").encode())
        facts = json.loads(saved["facts"]) | {"cache_key": key}
        cpu, wall = saved["cpu_seconds"], saved["wall_seconds"]
        self._manifest(folder, name, config, offline_method(config), cpu, wall, **facts)

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder / "checkpoints" / f"{self.name}.pt", self.device, self._note)

    def _check_online(self, saved: dict[str, Any]) -> None:
        """UserError for an online checkpoint of other settings; Damaged for one of other data, or without its rows."""
        check_same(f"checkpoint of {self.name}", json.loads(saved["runs"]), self._runs())
        if saved["data"] != self._data.hashes:
            raise Damaged("its dataset has changed")
        self._check(saved, [self.runs_root / run_id(config) / "rows.csv" for config in self.configs])

    def _online(self, checkpoints: Checkpoints, saved: dict[str, Any] | None, keys: list[str]) -> None:
        """Train all online runs: from a saved state, from the offline stages with these keys, or from scratch."""
        recorder = Recorder(self.runs_root, self.study, self.configs, display=self._show, check=self.claim.check)
        cohort = Cohort(self.configs, self._data.transitions, "online", self.device)
        self._begin(recorder, saved)
        if saved:
            cohort.load(saved["cohort"])
        elif keys:
            self._cache.fork(cohort, keys, self.device)

        def save() -> None:
            self.claim.check()
            checkpoints.save(self._header(recorder) | {"runs": json.dumps(self._runs()), "cohort": cohort.state()})

        safe_point = SafePoints(save, self.stop, CHECKPOINT_SECONDS, self.parent)
        with self.stop.deferred():
            moore(cohort, recorder, safe_point)
            safe_point.save()  # killed between two manifests, the unit is then still whole
            self._finish(cohort, recorder)

    def _finish(self, cohort: Cohort, recorder: Recorder) -> None:
        share = 1 / len(self.configs)
        self.claim.check()
        recorder.state()  # the rows are on the disk before the manifests say that they are there
        for config, path, diverged in zip(self.configs, recorder.paths, recorder.diverged, strict=True):
            self._manifest(
                path.parent,
                run_id(config),
                config,
                config.method,
                recorder.cpu() * share,
                recorder.wall() * share,
                offline_run=None if config.dataset is None else identity.offline_run_id(config),
                target_entropy=getattr(cohort.agent, "target_entropy", None),  # AWAC, IQL, TD3+BC have none
                diverged=diverged,
                git_commit=", ".join(self._commits),
            )

    def _manifest(
        self, folder: Path, run: str, config: RunConfig, method: str, cpu: float, wall: float, **more: Any
    ) -> None:
        write_json(
            folder / "manifest.json",
            {
                "run": run,
                "method": method,
                "config": to_mapping(config),
                "plugins": identity.plugins(config),
                "cpu_seconds": round(cpu, 1),
                "wall_seconds": round(wall, 1),
                "peak_memory_mb": round(peak_bytes() / 2**20),
                "threads": torch.get_num_threads(),
                "device": str(self.device),
                "finished": time.strftime("%Y-%m-%d"),
                **self._data.facts(config),
                "rows_bytes": (folder / "rows.csv").stat().st_size,
                **self._facts,
                **more,
            },
        )

    def _begin(self, recorder: Recorder, saved: dict[str, Any] | None) -> None:
        """Rows and commits of a stage that starts, or goes on from a checkpoint."""
        self._commits = list(dict.fromkeys([*(saved["git_commits"] if saved else []), self._facts["git_commit"]]))
        if saved:
            recorder.rewind(saved["recorder"])
        else:
            recorder.restart()

    def _header(self, recorder: Recorder) -> dict[str, Any]:
        """Return what a checkpoint says beside a stage's own state."""
        return {
            "recorder": recorder.state(),
            "data": self._data.hashes,
            "device": self.device,
            "git_commits": self._commits,
        }

    def _check(self, saved: dict[str, Any], rows: Sequence[Path]) -> None:
        """UserError for a checkpoint of another device, whose random numbers differ; Damaged where rows are missing."""
        if torch.device(saved["device"]).type != torch.device(self.device).type:
            raise UserError(
                f"unit {self.name} was begun on {saved['device']}, --device is {self.device}; accepted: the same, or"
                " another --root"
            )
        lost = missing_rows(rows, saved["recorder"])
        if lost is not None:
            raise Damaged(f"rows are missing in {lost}")

    def _runs(self) -> dict[str, Any]:
        """Return every run's configuration."""
        return {f"run {number}": to_mapping(config) for number, config in enumerate(self.configs)}

    def _key(self, config: RunConfig) -> str:
        assert config.dataset is not None
        return identity.offline_key(config, self._data.hashes[config.dataset])

    def _note(self, text: str) -> None:
        """Tell what a user has to know, in the log and on the display."""
        self._notes.append(text)
        print(f"moore: warning: {text}", file=sys.stderr, flush=True)
        self._show({"label": "resumes"})

    def _show(self, status: dict[str, Any]) -> None:
        warnings = [*self._data.warnings(), *self._notes]
        more = {"time": time.time(), "runs": len(self.configs), "warnings": warnings}
        with suppress(Unavailable):  # it is only for display
            write_json(self.progress_path, status | more, sync=False)


def main(path: Path) -> int:
    """Run the unit described by a JSON file; returns the exit code."""
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    torch.set_num_threads(threads)
    stop = StopRequest()
    try:
        with stop.listening():
            Unit(json.loads(path.read_text()), path, stop).run()
    except UserError as error:
        print(f"moore: {error}", file=sys.stderr)
        return error.exit_code
    except Stopped as stopped:
        print(f"moore: {stopped.reason}; the same command goes on", file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
