"""One unit of work: a cohort's offline stage, forks and online stage in one process, resumable.

python -m moore.unit runs/sampling-mini/units/0.json
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from moore import checkpoint
from moore.cohort import Cohort
from moore.config import RunConfig, from_mapping, to_mapping
from moore.data.check import physics_mismatch
from moore.data.hdf5 import dataset_hash
from moore.data.ids import resolve
from moore.data.load import load_dataset
from moore.data.mismatch import PhysicsMismatch
from moore.data.transitions import Transitions, to_transitions
from moore.errors import UserError
from moore.offline import offline_stage
from moore.online import OnlineStage
from moore.results import Recorder, environment_facts, offline_method, run_id, write_json

CHECKPOINT_SECONDS = 30.0


class Unit:
    """Trains the runs of one cohort from data to finished rows."""

    def __init__(self, spec: dict[str, Any], spec_path: Path) -> None:
        self.study, self.root = spec["study"], Path(spec["root"])
        self.name: str = spec["name"]
        self.configs = [from_mapping(values, str(spec_path)) for values in spec["runs"]]
        self.device, self.parent = spec["device"], spec.get("parent")
        self.state_path = self.root / self.study / "checkpoints" / f"{self.name}.pt"
        self.progress_path = self.root / self.study / "units" / f"{self.name}.progress.json"
        self.runs_root = self.root / self.study / "runs"
        self._facts = environment_facts()  # of the code that runs, whatever happens to the checkout meanwhile
        self._last_save = time.monotonic()
        self._mismatches: dict[str, PhysicsMismatch] = {}  # by dataset

    def run(self) -> None:
        """Data, offline stage for the (dataset, seed) pairs not yet in the cache, then all online runs."""
        data, hashes = self._load_data()
        keys = [checkpoint.offline_key(c, hashes[c.dataset]) if c.dataset else None for c in self.configs]
        missing = {
            key: config
            for key, config in zip(keys, self.configs, strict=True)
            if key is not None and not self._cache(key).exists()
        }
        if missing:
            self._offline(list(missing), [checkpoint.offline_config(c) for c in missing.values()], data)
        for key, config in {k: c for k, c in zip(keys, self.configs, strict=True) if k is not None}.items():
            self._publish_offline_rows(key, checkpoint.offline_config(config))
        self._online(keys, data, hashes)

    def _load_data(self) -> tuple[dict[str, Transitions], dict[str, str]]:
        data: dict[str, Transitions] = {}
        hashes: dict[str, str] = {}
        for config in {c.dataset: c for c in self.configs if c.dataset is not None}.values():
            assert config.dataset is not None
            self._show({"label": f"data: {config.dataset}"})
            size, physics = None, None  # files are what they are
            if resolve(config.dataset).source == "self":
                size, physics = config.dataset_transitions, config.physics
            dataset = load_dataset(config.dataset, self.root / "data", transitions=size, physics=physics)
            if dataset.env != config.env:
                raise UserError(f"{config.dataset} holds transitions of {dataset.env}, the run's env is {config.env}")
            mismatch = physics_mismatch(dataset, config.physics)
            if mismatch is not None:
                self._mismatches[config.dataset] = mismatch
                self._show({"label": f"data: {config.dataset}"})
                print(f"moore: warning: {mismatch.sentence(config.dataset)}", file=sys.stderr, flush=True)
            gamma = config.sac.gamma if config.reads_returns else None
            data[config.dataset], hashes[config.dataset] = (
                to_transitions(dataset, config.keep_timeouts, config.dataset_transitions, gamma),
                dataset_hash(dataset),
            )
        return data, hashes

    def _offline(self, keys: list[str], configs: list[RunConfig], data: dict[str, Transitions]) -> None:
        rows = self.state_path.with_suffix(".offline-rows")  # of this unit: two may train the same stage at once
        recorder = Recorder(rows, "", configs, self._show, [checkpoint.offline_run_id(config) for config in configs])
        cohort = Cohort(configs, data, "offline", self.device)
        path = self.state_path.with_suffix(".offline.pt")
        saved = checkpoint.load(path) if path.exists() else {}
        if saved.get("keys") == keys:  # else some of its runs have reached the cache since
            cohort.load(saved["cohort"])
            recorder.rewind(saved["recorder"])
        else:
            recorder.restart()
        offline_stage(
            cohort,
            recorder,
            self._saver(path, lambda: {"keys": keys, "cohort": cohort.state(), "recorder": recorder.state()}),
        )
        agent, ensemble = cohort.agent.state(), cohort.ensemble.state() if cohort.ensemble else {}
        share = 1 / len(configs)
        for run, key in enumerate(keys):
            checkpoint.save(
                self._cache(key),
                {
                    "agent": {name: value[run : run + 1].detach().clone() for name, value in agent.items()},
                    "ensemble": {name: value[run : run + 1].detach().clone() for name, value in ensemble.items()},
                    "rows": recorder.paths[run].read_text(),
                    "cpu_seconds": recorder.cpu() * share,
                    "wall_seconds": recorder.wall() * share,
                },
            )
        path.unlink(missing_ok=True)
        shutil.rmtree(rows)

    def _publish_offline_rows(self, key: str, config: RunConfig) -> None:
        """Copy an offline stage's rows, cached with its checkpoint, beside the runs that start from it."""
        name = checkpoint.offline_run_id(config)
        folder = self.runs_root / name
        folder.mkdir(parents=True, exist_ok=True)
        saved = checkpoint.load(self._cache(key))
        lines = saved["rows"].splitlines()
        (folder / "rows.csv").write_text("\n".join([lines[0], *(self.study + line for line in lines[1:])]) + "\n")
        self._manifest(folder, name, config, offline_method(config), saved["cpu_seconds"], saved["wall_seconds"])

    def _online(self, keys: list[str | None], data: dict[str, Transitions], hashes: dict[str, str]) -> None:
        recorder = Recorder(self.runs_root, self.study, self.configs, display=self._show)
        stage = OnlineStage(Cohort(self.configs, data, "online", self.device))
        if self.state_path.exists():
            saved = checkpoint.load(self.state_path)
            stage.load(saved["stage"])
            recorder.rewind(saved["recorder"])
        else:
            recorder.restart()
            if self.configs[0].dataset is not None:
                self._fork(stage.cohort, [key for key in keys if key is not None])
        self._last_save = time.monotonic()
        stage.run(
            recorder, self._saver(self.state_path, lambda: {"stage": stage.state(), "recorder": recorder.state()})
        )
        share = 1 / len(self.configs)
        for config, path, diverged in zip(self.configs, recorder.paths, recorder.diverged, strict=True):
            self._manifest(
                path.parent,
                run_id(config),
                config,
                config.method,
                recorder.cpu() * share,
                recorder.wall() * share,
                offline_run=None if config.dataset is None else checkpoint.offline_run_id(config),
                dataset=None
                if config.dataset is None
                else {
                    "env": config.env,
                    "sha256": hashes[config.dataset],
                    "transitions": len(data[config.dataset]),
                },
                target_entropy=getattr(stage.cohort.agent, "target_entropy", None),  # AWAC, IQL, TD3+BC have none
                diverged=diverged,
            )
        self._show({"label": "done", "done": 1, "total": 1})
        self.state_path.unlink(missing_ok=True)

    def _fork(self, cohort: Cohort, keys: list[str]) -> None:
        """Start every run from the offline stage of its dataset and seed: policy, critics, optimisers, ensemble."""
        saved = {key: checkpoint.load(self._cache(key)) for key in dict.fromkeys(keys)}
        for part, target in (("agent", cohort.agent), ("ensemble", cohort.ensemble)):
            names = saved[keys[0]][part]
            if target is not None:
                target.load({name: torch.cat([saved[key][part][name] for key in keys]) for name in names})

    def _manifest(
        self, folder: Path, run: str, config: RunConfig, method: str, cpu: float, wall: float, **more: Any
    ) -> None:
        mismatch = self._mismatches.get(config.dataset or "")
        write_json(
            folder / "manifest.json",
            {
                "run": run,
                "method": method,
                "config": to_mapping(config),
                "cpu_seconds": round(cpu, 1),
                "wall_seconds": round(wall, 1),
                "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "threads": torch.get_num_threads(),
                "device": str(self.device),
                "finished": time.strftime("%Y-%m-%d"),
                "physics_mismatch": None if mismatch is None else asdict(mismatch),
                **self._facts,
                **more,
            },
        )

    def _cache(self, key: str) -> Path:
        return self.root / "cache" / "offline" / f"{key}.pt"

    def _saver(self, path: Path, state: Callable[[], Any]) -> Callable[[], None]:
        def maybe_save() -> None:
            if self.parent is not None and os.getppid() != self.parent:
                sys.exit("the parent process is gone")
            if time.monotonic() - self._last_save > CHECKPOINT_SECONDS:
                checkpoint.save(path, state())
                self._last_save = time.monotonic()

        return maybe_save

    def _show(self, status: dict[str, Any]) -> None:
        warnings = [mismatch.sentence(dataset) for dataset, mismatch in self._mismatches.items()]
        more = {"time": time.time(), "runs": len(self.configs), "warnings": warnings}
        write_json(self.progress_path, status | more)


def main(path: Path) -> int:
    """Run the unit described by a JSON file; bad input is one line on stderr and exit code 2."""
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    torch.set_num_threads(threads)
    try:
        Unit(json.loads(path.read_text()), path).run()
    except UserError as error:
        print(f"moore: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
