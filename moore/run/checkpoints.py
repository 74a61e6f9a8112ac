"""The checkpoints of one stage: the last two states, the newest of which can be read after any kill."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moore.run import sealed
from moore.run.sealed import Damaged


class Checkpoints:
    """A folder with the last two states of a stage, <number>.pt; `tell` is told what is not used, and what follows."""

    def __init__(self, folder: Path, device: str, tell: Callable[[str], None]) -> None:
        self.folder, self._device, self._tell, self._number = folder, device, tell, 0

    def save(self, state: dict[str, Any]) -> None:
        """Write a state; raises as `sealed.save`."""
        sealed.save(self.folder / f"{self._number}.pt", state)
        for path in self.folder.glob("[0-9]*"):
            if path.name not in (f"{self._number - 1}.pt", f"{self._number}.pt"):
                path.unlink()
        self._number += 1

    def load(self, check: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
        """Return the newest usable state, None: the stage starts; check raises Damaged for one that does not fit."""
        troubles: dict[Path, str] = {}
        for path in sorted(self.folder.glob("[0-9]*.pt"), key=lambda path: -int(path.stem)):
            try:
                state: dict[str, Any] = sealed.load(path, self._device)
                check(state)
            except Damaged as error:
                troubles[path] = f"{path}: {error}"
                continue
            if troubles:
                self._tell(f"{'; '.join(troubles.values())}; goes on from the checkpoint before, {path.name}")
            for other in troubles:  # it must never be taken later, beside files that were written since
                other.unlink()
            self._number = int(path.stem) + 1
            return state
        if troubles:
            self._tell(f"{'; '.join(troubles.values())}; that stage starts again")
        self.remove()
        return None

    def remove(self) -> None:
        """Delete the folder; the next save is the first."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self._number = 0
