"""A study that is still running, or was killed: its rows so far, from the files that its runs append to."""

from pathlib import Path

import pandas as pd

from analysis.io.rows import Results, validate
from moore.base.errors import UserError
from moore.base.manifest import read_manifest
from moore.base.rows import read_rows


def load_progress(folder: Path) -> Results:
    """Read the rows so far of the study in `folder`, such as runs/sampling-mini.

    Raises UserError naming the folder or file and what is expected.
    """
    files = sorted(folder.glob("runs/*/rows.csv"))
    units = [spec for file in sorted(folder.glob("units/*.json")) if (spec := read_manifest(file)).get("runs")]
    frames = [frame for frame in map(read_rows, files) if len(frame)]
    if not frames or not units:
        expected = "expected the folder of a study in progress, such as runs/sampling-mini"
        raise UserError(f"{folder}: no rows yet; {expected}")
    rows = validate(pd.concat(frames, ignore_index=True), str(folder))
    ended = [read_manifest(path) for file in files if (path := file.with_name("manifest.json")).exists()]
    config = units[0]["runs"][0]
    online = config["online"]
    known = set(rows["run"])
    manifest = {
        "study": folder.name,
        "config": config,
        "online_steps": online["epochs"] * online["epoch_steps"],
        "configs": {m["run"]: m["config"] for m in ended},
        "offline_runs": {m["run"]: m["offline_run"] for m in ended if {m["run"], m.get("offline_run")} <= known},
    }
    return Results(folder.name, rows, manifest)
