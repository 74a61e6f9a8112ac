"""`moore tune`: every configuration of one method on seeds that no table reports, and the one to keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from moore.base.errors import UserError
from moore.base.machine import threads
from moore.cli.options import Root, ScaleName, check_writable, find_study, number_of_workers

if TYPE_CHECKING:
    import pandas as pd

TUNING = "a file in ablations/tuning/, by name (the method's) or path"
HERE = Path("analysis/tuning")  # what was tuned, in git
GENERATED = (
    "# Written by `moore tune --publish`, never by hand: the best configuration of each method, see analysis/tuning.\n"
)


def tune(
    study: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help=TUNING, metavar="STUDY")],
    scale: ScaleName = "mini",
    root: Root = Path("runs"),
    out: Path = Path("build/tuning"),
    workers: int = 0,
    publish: bool = False,
) -> None:
    """Try the configurations of a study with `tune: METHOD` and rank them; the same command goes on.

    Every method is tuned alike: at most twelve configurations, on the study's own seeds, ranked by the mean of final
    score and AUC over the tasks. No tracked file changes without --publish.

    Args:
        out: folder that receives <study>/rows.parquet, manifest.json and table.md.
        workers: processes, with one thread each; 0 is one for each core.
        publish: write to analysis/tuning instead, and the chosen settings into the scale's file, under `tuned`.
    """
    from moore.base.strict import read_yaml
    from moore.studies.study import ABLATIONS_DIR, find_yaml

    count, loaded, out = number_of_workers(workers), find_study(study, scale, "tuning"), HERE if publish else out
    if loaded.tunes is None:
        raise UserError(f"{study}: has no `tune`; accepted: a study that tunes, such as those of ablations/tuning")
    if publish and not out.is_dir():
        raise UserError(f"{out}: is not here; accepted: --publish in the folder of a checkout")
    for key, folder in (("--root", root), ("--out", out)):
        check_writable(key, folder)

    from analysis.io.rows import load_study as load_rows
    from analysis.stats.tuning import ranked
    from moore.cli.report import write_rows
    from moore.run.local import run_study
    from moore.run.stop import StopRequest

    with StopRequest().listening() as stop:
        run_study(loaded, root, [threads("cpu", count)] * count, stop=stop)
    folder = write_rows(loaded, (study, scale), root, out)
    table = ranked(load_rows(folder))
    chosen = str(table["configuration"].iloc[0])
    text = _text(loaded.tunes, loaded.name, table, sorted({run.seed for run in loaded.runs}))
    (folder / "table.md").write_text(text, encoding="utf-8")
    print(text)
    if publish:
        path = find_yaml(scale, ABLATIONS_DIR / "scales")
        changes = read_yaml(find_yaml(study, ABLATIONS_DIR / "tuning"))["variants"][chosen] or {}
        _write_tuned(path, loaded.tunes, changes)
        print(f"{path}: tuned.{loaded.tunes} is {chosen}")


def _text(method: str, name: str, table: pd.DataFrame, seeds: list[int]) -> str:
    from analysis.output.render import number, to_markdown
    from analysis.output.tables import Cell, Table

    shown = lambda value: Cell.said("", "" if value != value else number(value, 1))  # noqa: E731
    rows = tuple(((str(head),), tuple(map(shown, values))) for head, *values in table.itertuples(index=False))
    kept = f"Kept: {table['configuration'].iloc[0]}. Score is the mean of final and AUC;"
    said = f"{kept} all are means over seeds {', '.join(map(str, seeds))}, then tasks."
    return f"# {method} ({name})\n\n" + to_markdown(
        Table(name, ("configuration",), tuple(table.columns[1:]), rows, len(seeds), said)
    )


def _write_tuned(scale: Path, method: str, changes: dict[str, Any]) -> None:
    """Put a method's chosen settings into the generated end of a scale's file."""
    import yaml

    from moore.base.files import replacing
    from moore.base.strict import read_yaml

    tuned = read_yaml(scale).get("tuned", {}) | {method: changes}
    body = scale.read_text(encoding="utf-8").split(GENERATED)[0].rstrip("\n") + "\n"
    lines = [
        f"  {name}: {yaml.safe_dump(tuned[name], default_flow_style=True, width=1000).strip()}"
        for name in sorted(tuned)
    ]
    with replacing(scale) as file:
        file.write((body + GENERATED + "\n".join(["tuned:", *lines]) + "\n").encode())
