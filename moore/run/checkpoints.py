"""The checkpoints of one stage: the last two, and D_model's rows, which are written once for both."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moore.run import sealed
from moore.run.sealed import Damaged


class Checkpoints:
    """A folder with the last two states of a stage, <number>.pt, and the rows of D_model that they need."""

    def __init__(self, folder: Path, device: str, tell: Callable[[str], None]) -> None:
        self.folder, self._device, self._tell = folder, device, tell
        self._rows, self._number = ImaginedRows(folder), 0

    def save(self, state: dict[str, Any]) -> None:
        """Write a state; the D_model of its "cohort", if it has one, goes to files of its own."""
        number, before = self._number, list(self._rows.files)
        if "cohort" in state:
            imagined = state["cohort"]["model_buffer"]
            rows = self._rows.save(number, imagined["rows"], imagined["written"])
            state = state | {"cohort": state["cohort"] | {"model_buffer": rows}}
        sealed.save(self.folder / f"{number}.pt", state)
        needed = {f"{number - 1}.pt", f"{number}.pt", *(f"{n}.rows" for n in [*before, *self._rows.files])}
        for path in self.folder.glob("[0-9]*"):
            if path.name not in needed:
                path.unlink()
        self._number += 1

    def load(self, check: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
        """Return the newest state that can be used; None: the stage has to start.

        check raises Damaged for a state that does not fit what else is there. What is not used, and what follows, goes
        to `tell`.
        """
        rejected: list[Path] = []
        troubles: list[str] = []
        for path in sorted(self.folder.glob("[0-9]*.pt"), key=lambda path: -int(path.stem)):
            try:
                state: dict[str, Any] = sealed.load(path, self._device)
                check(state)
                if "cohort" in state:
                    state["cohort"]["model_buffer"] = self._rows.load(state["cohort"]["model_buffer"])
            except Damaged as error:
                rejected.append(path)
                troubles.append(f"{path}: {error}")
                continue
            if troubles:
                self._tell(f"{'; '.join(troubles)}; goes on from the checkpoint before, {path.name}")
            for other in rejected:  # it must never be taken later, beside files that were written since
                other.unlink()
            self._number = int(path.stem) + 1
            return state
        if troubles:
            self._tell(f"{'; '.join(troubles)}; that stage starts again")
        self.remove()
        return None

    def remove(self) -> None:
        """Delete the folder; the next save is the first."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self._rows, self._number = ImaginedRows(self.folder), 0


class ImaginedRows:
    """D_model in files <number>.rows, each with the rows that were added since the one before.

    D_model is by far the largest part of a state, and a row never changes until it is overwritten. Number n of a run's
    rows, counted from its first, lies in slot n % capacity of the table.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[int, list[int]] = {}  # what the last state needs: the rows that each run had then, [R]

    def save(self, number: int, rows: Tensor, written: Tensor) -> dict[str, Any]:
        """Write what is new in rows [R, capacity, D] to file `number`; written [R]. Returns what `load` needs."""
        capacity, upto = rows.shape[1], written.tolist()
        files = dict(self.files)
        last = list(files.values())[-1] if files else [0] * len(upto)
        if upto != last:
            new = []
            for run, (n, m) in enumerate(zip(last, upto, strict=True)):
                new.append(rows[run, torch.arange(max(n, m - capacity), m) % capacity].cpu())
            sealed.save(self._folder / f"{number}.rows", {"upto": upto, "new": new})
            files[number] = upto
        held = {n: then for n, then in files.items() if any(a > b - capacity for a, b in zip(then, upto, strict=True))}
        self.files = held
        return {"shape": list(rows.shape), "written": written, "files": held}

    def load(self, saved: dict[str, Any]) -> dict[str, Tensor]:
        """Rows and written as they were. Raises Damaged for a file that is missing or damaged."""
        rows = torch.zeros(saved["shape"])
        for number, upto in saved["files"].items():
            path = self._folder / f"{number}.rows"
            try:
                part = sealed.load(path)
                if part["upto"] != upto:
                    raise Damaged("it is of another checkpoint")
            except Damaged as error:
                raise Damaged(f"needs {path}, but {error}") from None
            for run, (new, end) in enumerate(zip(part["new"], upto, strict=True)):
                rows[run, torch.arange(end - len(new), end) % rows.shape[1]] = new  # over those that have given way
        self.files = saved["files"]
        return {"rows": rows, "written": saved["written"]}
