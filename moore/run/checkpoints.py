"""The checkpoints of one stage: the last two, and D_model's rows, which are written once for both."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from moore.run.sealed import Damaged, check_seal, load, read_seal, save, sealing


class Checkpoints:
    """<name>.pt and <name>.other.pt, of which each save replaces the older one, and the folder <name>.rows."""

    def __init__(self, path: Path, device: str, tell: Callable[[str], None]) -> None:
        self.paths = path, path.with_name(f"{path.stem}.other.pt")
        self._device, self._tell = device, tell
        self._rows, self._number = ImaginedRows(path.with_suffix(".rows")), 0

    def save(self, state: dict[str, Any]) -> None:
        """Write a state; its "cohort", if it has one, is a `Cohort.state()`, whose D_model goes to the folder."""
        if "cohort" in state:
            imagined = state["cohort"]["model_buffer"]
            rows = self._rows.save(self._number, imagined["rows"], imagined["written"])
            state = state | {"cohort": state["cohort"] | {"model_buffer": rows}}
        save(self.paths[self._number % 2], state, self._number)
        self._rows.forget()
        self._number += 1

    def load(self, check: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
        """Return the newest state that can be used; None: the stage has to start.

        check raises Damaged for a state that does not fit what else is there. What is not used, and what follows, goes
        to `tell`.
        """
        found: list[tuple[int, Path]] = []
        troubles: list[str] = []
        for path in self.paths:
            if path.exists():
                try:
                    found.append((read_seal(path).number, path))
                except Damaged as error:
                    troubles.append(f"{path}: {error}")
        for number, path in sorted(found, reverse=True):
            try:
                state = load(path, self._device)
                check(state)
                if "cohort" in state:
                    state["cohort"]["model_buffer"] = self._rows.load(state["cohort"]["model_buffer"])
            except Damaged as error:
                troubles.append(f"{path}: {error}")
                continue
            if troubles:
                self._tell(f"{'; '.join(troubles)}; goes on from the other checkpoint, {path.name}")
                for (
                    other
                ) in self.paths:  # a rejected one must never be taken later, beside files that were written since
                    if other != path:
                        other.unlink(missing_ok=True)
            self._number = number + 1
            return state
        if troubles:
            self._tell(f"{'; '.join(troubles)}; that stage starts again")
        self.remove()
        return None

    def remove(self) -> None:
        """Delete the files; the next save is the first."""
        for path in self.paths:
            path.unlink(missing_ok=True)
        self._rows.remove()
        self._number = 0


class Addition(NamedTuple):
    """A file of rows: for each run those with the numbers first[r] to upto[r] - 1."""

    file: int
    first: list[int]
    upto: list[int]
    crc: int  # of its content


class ImaginedRows:
    """D_model in a folder of files, each with the rows that were added since the file before.

    D_model is by far the largest part of a state, and a row never changes until it is overwritten. Number n of a run's
    rows, counted from its first, lies in slot n % capacity of the table.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._added: list[Addition] = []  # what the last checkpoint needs, in order
        self._before = self._added  # what the one before it needs

    def save(self, number: int, rows: Tensor, written: Tensor) -> dict[str, Any]:
        """Write what is new in rows [R, capacity, D] to file `number`; written [R]. Returns what `load` needs."""
        assert rows.dtype == torch.float32
        capacity, upto = rows.shape[1], written.tolist()
        last = self._added[-1].upto if self._added else [0] * len(upto)
        self._before, self._added = self._added, list(self._added)
        if upto != last:
            first = [max(n, m - capacity) for n, m in zip(last, upto, strict=True)]
            with sealing(self._path(number)) as content:
                for run, slots in _slots(first, upto, capacity):
                    content.write(rows[run, slots].cpu().numpy().data.cast("B"))
            self._added.append(Addition(number, first, upto, content.crc))
        held = [m - capacity for m in upto]
        self._added = [added for added in self._added if any(n > m for n, m in zip(added.upto, held, strict=True))]
        return {"shape": list(rows.shape), "written": written, "files": [list(added) for added in self._added]}

    def load(self, saved: dict[str, Any]) -> dict[str, Tensor]:
        """Rows and written as they were. Raises Damaged for a file that is missing or damaged."""
        rows = torch.zeros(saved["shape"])
        _, capacity, width = rows.shape
        self._added = [Addition(*added) for added in saved["files"]]
        for added in self._added:
            path = self._path(added.file)
            try:
                seal = check_seal(path)
                if seal.crc != added.crc:
                    raise Damaged("it is of another checkpoint")
            except Damaged as error:
                raise Damaged(f"needs {path}, but {error}") from None
            new, done = torch.from_numpy(np.fromfile(path, np.float32, seal.size // 4)).view(-1, width), 0
            for run, slots in _slots(added.first, added.upto, capacity):
                count = slots.stop - slots.start
                rows[run, slots] = new[done : done + count]  # later files overwrite what has given way
                done += count
        return {"rows": rows, "written": saved["written"]}

    def forget(self) -> None:
        """Delete the files that neither the last checkpoint nor the one before it needs."""
        needed = {self._path(added.file) for added in [*self._before, *self._added]}
        for path in self.folder.glob("*.rows"):
            if path not in needed:
                path.unlink()

    def remove(self) -> None:
        """Delete all files."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self._added = self._before = []

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.rows"


def _slots(first: Sequence[int], upto: Sequence[int], capacity: int) -> Iterator[tuple[int, slice]]:
    """(run, slots) of the rows from first[r] to upto[r] - 1 of every run, in order; at most `capacity` for each."""
    for run, (n, m) in enumerate(zip(first, upto, strict=True)):
        while n < m:
            stop = min(m, n - n % capacity + capacity)  # the table ends there and goes on at its beginning
            yield run, slice(n % capacity, n % capacity + stop - n)
            n = stop
