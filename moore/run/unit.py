"""One unit of work: a cohort's offline stage, forks and online stage in one process, resumable.

python -m moore.run.unit runs/sampling-mini/units/0.json; what its exit codes mean is in README.md here.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from moore.algorithm.clock import SafePoint
from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig, to_mapping
from moore.algorithm.moore import moore
from moore.algorithm.mopo import mopo
from moore.base.errors import Unavailable, UserError
from moore.base.files import replacing, write_json
from moore.base.lock import locked
from moore.base.machine import peak_bytes
from moore.run.checkpoints import Checkpoints
from moore.run.claim import Claim
from moore.run.facts import environment_facts
from moore.run.folders import is_finished, read_manifest
from moore.run.offline_cache import OfflineCache
from moore.run.recorder import Recorder
from moore.run.sealed import Damaged
from moore.run.stop import SafePoints, StopRequest, exit_code
from moore.run.unit_data import NO_FACTS, UnitData, load_unit_data
from moore.run.units import PARENT, UnitProcess
from moore.studies.identity import offline_config, offline_key, offline_run_id, plugins, run_id

CHECKPOINT_SECONDS = 30.0  # between two checkpoints, or more; see SafePoints
PATIENCE = 180.0  # seconds that an earlier process on the same unit gets to reach its safe point


class Unit:
    """Trains the runs of the unit whose spec is at `path`, from data to finished rows."""

    def __init__(self, path: Path, stop: StopRequest | None = None) -> None:
        self._unit = unit = UnitProcess.read(path)
        self._configs, self._device, self._stop = unit.runs, unit.device, stop or StopRequest()
        self._claim = Claim(unit.claim_path, unit.submission)
        self._cache = OfflineCache(unit.root)
        self._facts = environment_facts()  # of the code that runs, whatever happens to the checkout meanwhile
        self._data: dict[str, UnitData] = {}  # by dataset id
        self._warnings: list[str] = []
        self._status: dict[str, Any] = {"label": "starts"}
        self._commits: list[str] = []  # of the code that has trained the stage under way

    def run(self) -> None:
        """Train: data, offline stage for the (dataset, seed) pairs not yet in the cache, then all online runs."""
        takes_over = self._unit.submission is not None  # the scheduler says that no other process has it
        if takes_over:
            self._claim.take()  # an earlier process, cut off but alive, lets go of the lock at its next checkpoint
        with locked(self._unit.spec_path.with_suffix(".lock"), f"unit {self._unit.name}", PATIENCE):
            if not takes_over:
                self._claim.take()
            if not self._unit.finished():  # by an earlier process, which this one has waited for
                self._train()
            self._checkpoints("online").remove()
            self._show({"label": "done", "done": 1, "total": 1})
            self._claim.give_back()

    def _train(self) -> None:
        with_data = [config for config in self._configs if config.dataset is not None]
        for name, config in {str(config.dataset): config for config in with_data}.items():
            self._show({"label": f"data: {name}"})
            self._data[name] = load_unit_data(config, self._unit.root, self._warn)
        keys = [offline_key(config, self._data[str(config.dataset)].sha256) for config in with_data]
        stages = {key: offline_config(config) for key, config in zip(keys, with_data, strict=True)}
        online = self._checkpoints("online")
        folders = [self._unit.runs_root / run_id(config) for config in self._configs]
        saved = online.load(partial(self._check, folders))
        if saved is None:  # else the offline stages have been there, and are not needed any more
            missing = {key for key in stages if not self._cache.has(key, self._warn)}
            if missing:
                self._offline(stages, missing)
            self._checkpoints("offline").remove()
            shutil.rmtree(self._offline_rows, ignore_errors=True)
            for key, config in stages.items():
                self._publish_offline_rows(key, config)
            self._stop.check()
        recorder = Recorder(self._unit.runs_root, self._unit.study, self._configs, self._show, check=self._claim.check)
        cohort = Cohort(self._configs, self._transitions(), "online", self._device)
        if keys and not saved:
            self._cache.fork(cohort, keys, self._device)
        self._stage(moore, cohort, recorder, online, saved, {}, lambda: self._finish(cohort, recorder))

    @property
    def _offline_rows(self) -> Path:
        """Rows of this unit's own until they are in the cache: two units may train the same stage at once."""
        return self._unit.checkpoint_folder("offline-rows")

    def _offline(self, stages: dict[str, RunConfig], missing: set[str]) -> None:
        """Train the stages that are missing; those that began together end together, as rounding depends on it."""

        def check(saved: dict[str, Any]) -> None:
            if not missing <= set(saved["keys"]) <= set(stages):
                raise Damaged("it is of other data or other stages")
            self._check([self._offline_rows / offline_run_id(stages[key]) for key in saved["keys"]], saved)

        checkpoints = self._checkpoints("offline")
        saved = checkpoints.load(check)
        keys = saved["keys"] if saved else [key for key in stages if key in missing]
        configs = [stages[key] for key in keys]
        ids = [offline_run_id(config) for config in configs]
        recorder = Recorder(self._offline_rows, "", configs, self._show, ids, self._claim.check)
        cohort = Cohort(configs, self._transitions(), "offline", self._device)

        def finish() -> None:
            self._cache.fill(keys, cohort, recorder, self._facts | {"git_commit": ", ".join(self._commits)})

        self._stage(mopo, cohort, recorder, checkpoints, saved, {"keys": keys}, finish)

    def _stage(
        self,
        loop: Callable[[Cohort, Recorder, SafePoint], None],
        cohort: Cohort,
        recorder: Recorder,
        checkpoints: Checkpoints,
        saved: dict[str, Any] | None,
        more: dict[str, Any],
        finish: Callable[[], None],
    ) -> None:
        """Train a stage to its end from a saved state or its beginning; more: what its checkpoints say beside it."""
        self._commits = list(dict.fromkeys([*(saved["git_commits"] if saved else []), self._facts["git_commit"]]))
        recorder.rewind(saved and saved["recorder"])
        if saved:
            cohort.load(saved["cohort"])

        def save() -> None:
            self._claim.check()
            state = {"recorder": recorder.state(), "data": self._hashes(), "device": self._device}
            checkpoints.save(state | {"git_commits": self._commits, "cohort": cohort.state()} | more)

        parent = os.environ.get(PARENT)
        safe_point = SafePoints(save, self._stop, CHECKPOINT_SECONDS, int(parent) if parent else None)
        with self._stop.deferred():
            loop(cohort, recorder, safe_point)
            safe_point.save()  # killed between two files of `finish`, the others are then still of this cohort
            finish()

    def _checkpoints(self, stage: str) -> Checkpoints:
        return Checkpoints(self._unit.checkpoint_folder(stage), self._device, self._warn)

    def _check(self, folders: list[Path], saved: dict[str, Any]) -> None:
        """Raise UserError for a checkpoint of another device, whose random numbers differ.

        Raises Damaged for one of other data, or where a folder lacks rows that it knows of.
        """
        if torch.device(saved["device"]).type != torch.device(self._device).type:
            begun = f"unit {self._unit.name} was begun on {saved['device']}, --device is {self._device}"
            raise UserError(f"{begun}; accepted: the same, or another --root")
        if "files" in saved["cohort"]["model_buffer"]:
            raise Damaged("an older version of moore wrote it")
        if saved["data"] != self._hashes():
            raise Damaged("its dataset has changed")
        for folder, size in zip(folders, saved["recorder"]["sizes"], strict=True):
            path = folder / "rows.csv"
            if not path.exists() or path.stat().st_size < size:
                raise Damaged(f"rows are missing in {path}")

    def _publish_offline_rows(self, key: str, config: RunConfig) -> None:
        """Copy an offline stage's rows, cached with its checkpoint, beside the runs that start from it."""
        folder = self._unit.runs_root / offline_run_id(config)
        if is_finished(folder, config) and read_manifest(folder).get("cache_key") == key:
            return
        saved = self._cache.read(key)
        lines = saved["rows"].splitlines()
        with replacing(folder / "rows.csv") as file:
            file.write(("\n".join([lines[0], *(self._unit.study + line for line in lines[1:])]) + "\n").encode())
        costs = {name: saved[name] for name in ("cpu_seconds", "wall_seconds")}
        self._manifest(folder, config, costs, **json.loads(saved["facts"]), cache_key=key)

    def _finish(self, cohort: Cohort, recorder: Recorder) -> None:
        self._claim.check()
        recorder.state()  # the rows are on the disk before the manifests say that they are there
        for config, path, diverged in zip(self._configs, recorder.paths, recorder.diverged, strict=True):
            self._manifest(
                path.parent,
                config,
                recorder.costs(),
                offline_run=None if config.dataset is None else offline_run_id(config),
                target_entropy=getattr(cohort.agent, "target_entropy", None),  # AWAC, IQL, TD3+BC have none
                compiled=cohort.compiled,
                diverged=diverged,
                git_commit=", ".join(self._commits),
            )

    def _manifest(self, folder: Path, config: RunConfig, costs: dict[str, float], **more: Any) -> None:
        data = NO_FACTS if config.dataset is None else self._data[config.dataset].facts
        facts = {
            "run": folder.name,
            "method": config.method,
            "config": to_mapping(config),
            "plugins": plugins(config),
            **{name: round(seconds, 1) for name, seconds in costs.items()},
            "peak_memory_mb": round(peak_bytes() / 2**20),
            "threads": torch.get_num_threads(),
            "device": str(self._device),
            "finished": time.strftime("%Y-%m-%d"),
            "rows_bytes": (folder / "rows.csv").stat().st_size,
        }
        write_json(folder / "manifest.json", facts | data | self._facts | more)

    def _transitions(self) -> dict[str, Any]:
        return {name: data.transitions for name, data in self._data.items()}

    def _hashes(self) -> dict[str, str]:
        return {name: data.sha256 for name, data in self._data.items()}

    def _warn(self, text: str) -> None:
        """Tell what a user has to know, in the log and on the display."""
        self._warnings.append(text)
        print(f"moore: warning: {text}", file=sys.stderr, flush=True)
        self._show(self._status)

    def _show(self, status: dict[str, Any]) -> None:
        self._status = status
        more = {"time": time.time(), "warnings": self._warnings}
        with suppress(Unavailable):  # it is only for display
            write_json(self._unit.progress_path, status | more, sync=False)


def main(path: Path) -> int:
    """Run the unit described by a JSON file; returns the exit code."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

    def run() -> None:
        with StopRequest().listening() as stop:
            Unit(path, stop).run()

    return exit_code("moore", run)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
