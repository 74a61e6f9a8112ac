"""Speed and memory of tables, figures and aggregates on a study of full size, with synthetic scores.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.analysis --out tests/benchmarks/results

Twelve methods on the paper's twelve tasks with ten seeds and 200 evaluations, the configs that the suite makes of them
at scale `paper`, and what MOORe logs once an epoch. Wall and processor time are both given: other jobs on the machine
distort the former.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import tyro
import yaml

from analysis.aggregates import STATISTICS, samples
from analysis.claims import claims_table
from analysis.differences import differences_table
from analysis.drawings import drawings
from analysis.figures import save
from analysis.published import published_table
from analysis.rows import SCORE, Study
from analysis.settings import default_settings
from analysis.stats import bootstrap_intervals
from analysis.tables import main_table, methods_table, transfer_table
from analysis.transfer import summarise
from moore.algorithm.config import to_mapping
from moore.base.machine import peak_bytes, short
from moore.studies.study import load_study
from tests.benchmarks.data import once, seconds
from tests.benchmarks.report import report_facts, write_report
from tests.support.synthetic_studies import METHODS, TWELVE, study

SCALE = Path(__file__).resolve().parents[2] / "ablations" / "scales" / "paper.yaml"
STEPS, EVALUATIONS, EPOCHS = 100_000, 200, 100
REPLICATIONS = 10_000
TABLES = (main_table, transfer_table, differences_table, claims_table, methods_table, published_table)


def full_study(methods: int, seeds: int) -> Study:
    """Synthetic rows with the real configs of the runs."""
    names = METHODS[:methods]
    made = study(names, TWELVE, seeds, steps=STEPS, evaluations=EVALUATIONS, epochs=EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        scale, comparison = Path(folder) / "scale.yaml", Path(folder) / "study.yaml"
        scale.write_text(yaml.safe_dump(yaml.safe_load(SCALE.read_text()) | {"seeds": list(range(seeds))}))
        comparison.write_text(yaml.safe_dump({"study": "toy", "methods": list(names)}))
        runs = load_study(comparison, scale).runs
    configs = {f"{r.method}/{r.dataset or f'none:{r.env}'}/{r.seed}": to_mapping(r) for r in runs}
    missing = set(made.owners.loc[made.owners["phase"] == "online", "run"]) - set(configs)
    assert not missing, missing
    return Study(made.name, made.rows, {**made.manifest, "configs": configs})


def measurements(methods: int, seeds: int) -> Iterator[dict[str, Any]]:
    """One row for each measurement; what is made once and kept (the runs of a study) counts where it is made."""
    default_settings()  # brings torch, which is not what is measured
    kept: list[Study] = []
    timing = once(lambda: kept.append(full_study(methods, seeds)))
    (made,) = kept
    yield {"what": "make the rows", "rows": len(made.rows), **seconds(timing)}
    scores = int((made.rows["metric"] == SCORE).sum())
    found = [{"what": "summarise the runs", "rows": scores, **seconds(once(lambda: summarise(made)))}]
    for build in TABLES:
        found.append({"what": build.__name__.replace("_", " "), **seconds(once(partial(build, made)))})
    yield from found
    yield total("all tables", found)

    with tempfile.TemporaryDirectory() as folder:
        found, figures = [], drawings(made)
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            if (drawn := next(figures, None)) is None:
                break
            name, figure, caption = drawn
            save(figure, Path(folder) / name, caption)
            spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            found.append({"what": f"figure {name}", **spent})
    yield from found
    yield total("all figures", found)

    columns = samples(made)
    statistics = list(STATISTICS.values())

    def aggregate() -> None:
        for sample in columns.values():
            finals = [100 * runs for runs in sample.finals]
            bootstrap_intervals(finals, statistics, sample.tasks, reps=REPLICATIONS)

    what = f"{len(statistics)} aggregates of {len(columns)} methods, {REPLICATIONS} replications"
    yield {"what": what, **seconds(once(aggregate))}
    yield {"what": "peak memory of the process", "mb": peak_bytes() / 2**20}


def total(what: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum of several measurements."""
    return {"what": what, **{key: sum(row[key] for row in rows) for key in ("wall", "cpu")}}


def line(row: dict[str, Any]) -> list[str]:
    """The cells of a measurement."""
    count = f"{row['rows']:,}" if "rows" in row else ""
    times = [f"{row[key]:.2f}" if key in row else "" for key in ("wall", "cpu")]
    return [row["what"], count, *times, f"{row['mb']:.0f}" if "mb" in row else ""]


def markdown(facts: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The report as a table."""
    lines = [
        f"# Tables and figures on {facts['machine']}",
        "",
        f"{facts['date']}, load {facts['load_before']:.1f} before and {facts['load_after']:.1f} after, pandas "
        f"{facts['pandas']}, matplotlib {facts['matplotlib']}, Python {facts['python']}, commit "
        f"{short(facts['git_commit'])}. Synthetic scores of {facts['methods']} methods on 12 tasks, {facts['seeds']} "
        f"seeds and {EVALUATIONS} evaluations, and MOORe's diagnostics of {EPOCHS} epochs. A figure is drawn and saved "
        "as PDF and PNG.",
        "",
        "| what | rows | wall s | CPU s | MB |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(line(row))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def main(out: Path | None = None, methods: int = 12, seeds: int = 10) -> None:
    """Print the report; with --out, write analysis.md and analysis.json there.

    methods: how many of the suite's; seeds: of every method on every task.
    """
    load, found = os.getloadavg()[0], []
    for row in measurements(methods, seeds):
        cells = line(row)
        print(f"{cells[0]:>60} {cells[1]:>10}", *(f"{cell:>8}" for cell in cells[2:]), flush=True)
        found.append(row)
    facts = report_facts(load, pandas=pd.__version__, matplotlib=mpl.__version__, methods=methods, seeds=seeds)
    write_report(out, "analysis", facts, found, markdown(facts, found))


if __name__ == "__main__":
    tyro.cli(main)
