"""Trained offline stages, by a hash of all that determines them: pre-trained once, forked by every run that can."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from moore.algorithm.cohort import Cohort
from moore.networks.state import joined, runs_of
from moore.run import sealed
from moore.run.recorder import Recorder
from moore.run.sealed import Damaged


class OfflineCache:
    """The folder <root>/cache/offline with a file for every stage."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "cache" / "offline"

    def has(self, key: str, tell: Callable[[str], None]) -> bool:
        """Tell whether a stage has been trained. A damaged file does not count and is reported to `tell`."""
        path = self._path(key)
        if not path.exists():
            return False
        try:
            sealed.check(path)
        except Damaged as error:
            tell(f"{path}: {error}; that offline stage is trained again")
            return False
        return True

    def fill(self, keys: Sequence[str], cohort: Cohort, recorder: Recorder, facts: Mapping[str, Any]) -> None:
        """Write the stages of a cohort's runs, whose rows and costs the recorder has; facts: what manifests say."""
        agent, ensemble = cohort.agent.state(), cohort.ensemble.state() if cohort.ensemble else {}
        ensemble.pop("training", None)  # it is over
        for run, key in enumerate(keys):
            sealed.save(
                self._path(key),
                {
                    "agent": runs_of(agent, run),
                    "ensemble": runs_of(ensemble, run),
                    "rows": recorder.paths[run].read_text(),
                    "facts": json.dumps(facts),
                    **recorder.costs(),
                },
            )

    def read(self, key: str, device: str = "cpu") -> dict[str, Any]:
        return sealed.load(self._path(key), device)

    def fork(self, cohort: Cohort, keys: Sequence[str], device: str) -> None:
        """Start every run from the stage of its dataset and seed: policy, critics, optimisers, ensemble."""
        saved = {key: self.read(key, device) for key in dict.fromkeys(keys)}
        cohort.agent.load(joined([saved[key]["agent"] for key in keys]))
        if cohort.ensemble is not None:
            cohort.ensemble.load(joined([saved[key]["ensemble"] for key in keys]))
            cohort.ensemble.fitted = True

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.pt"
