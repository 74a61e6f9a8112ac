"""Finished runs as one file: from a machine that is lent for minutes to the one that collects the study."""

import itertools
import json
import re
import tarfile
from pathlib import Path

from moore.base.errors import UserError
from moore.base.files import replacing
from moore.base.lock import locked
from moore.run.folders import is_finished
from moore.studies.identity import offline_stages, run_id
from moore.studies.study import Study

FILES = ("rows.csv", "manifest.json")  # of a run; the manifest, which says that it is finished, is written last
MEMBER = re.compile(r"(?P<study>[a-z0-9_][a-z0-9_.-]*)/runs/(?P<run>[A-Za-z0-9_][\w.+-]*)/(?P<file>[a-z]+\.[a-z]+)")


def pack(study: Study, root: Path, path: Path) -> int:
    """Write the rows and manifests of finished runs, with their offline stages, to a .tgz; returns how many runs.

    Raises Unavailable where it cannot be written.
    """
    runs = {run_id(run): run for run in study.runs}
    folder, parts = root / study.name / "runs", runs | offline_stages(study.runs)
    done = [name for name, config in parts.items() if is_finished(folder / name, config)]
    with replacing(path) as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in done:
            for part in FILES:
                archive.add(folder / name / part, f"{study.name}/runs/{name}/{part}")
    return sum(name in runs for name in done)


def unpack(path: Path, root: Path) -> dict[str, tuple[int, int]]:
    """Put what `pack` wrote below root; returns by study how many runs and stages came and how many were there before.

    Raises UserError, before anything is written, for another or a damaged file, Unavailable while the study is trained.
    """
    found: dict[str, dict[str, dict[str, bytes]]] = {}  # study -> run -> file
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = MEMBER.fullmatch(member.name)
                content = archive.extractfile(member) if member.isfile() else None
                if name is None or name["file"] not in FILES or content is None:
                    raise UserError(f"{path}: holds {member.name!r}; accepted: what `moore study train --pack` wrote")
                found.setdefault(name["study"], {}).setdefault(name["run"], {})[name["file"]] = content.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read ({reason}); accepted: what `moore study train --pack` wrote") from None
    broken = [run for runs in found.values() for run, files in runs.items() if not _is_whole(run, files)]
    if broken:
        raise UserError(f"{path}: the rows of {broken[0]} are not whole; accepted: the file as it was packed")
    counts: dict[str, tuple[int, int]] = {}
    for study, runs in found.items():
        folder = root / study / "runs"
        with locked(root / study / "lock", f"study {study}"):
            new = [run for run in runs if not (folder / run / "manifest.json").exists()]
            for run, part in itertools.product(new, FILES):
                with replacing(folder / run / part) as file:
                    file.write(runs[run][part])
        counts[study] = len(new), len(runs) - len(new)
    return counts


def _is_whole(run: str, files: dict[str, bytes]) -> bool:
    """Tell whether a run has all its files, and the manifest is its own and of these rows."""
    try:
        manifest = json.loads(files["manifest.json"])
        return bool(manifest["run"] == run and manifest["rows_bytes"] == len(files["rows.csv"]))
    except (KeyError, TypeError, ValueError):
        return False
