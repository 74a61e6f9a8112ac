"""What every benchmark says of machine and code, and where it writes that with its rows."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from moore.networks.graphs import SWITCH
from moore.run.facts import environment_facts


def report_facts(load_before: float, **more: Any) -> dict[str, Any]:
    """Code, packages, machine (not its name), date, and the load before and after; more: the benchmark's own."""
    facts = {key: value for key, value in environment_facts().items() if key != "host"}
    return facts | {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "cuda_graphs": os.environ.get(SWITCH) == "1",
        **more,
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
    }


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> list[str]:
    """Lines of a Markdown table; the first `words` columns are words, the others numbers."""
    rule = ["---" if number < words else "---:" for number in range(len(columns))]
    return [f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows)]


def write_report(out: Path | None, name: str, facts: dict[str, Any], rows: list[dict[str, Any]], text: str) -> None:
    """Write <name>.json and <name>.md into a folder, if there is one."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.json").write_text(json.dumps({"facts": facts, "rows": rows}, indent=1) + "\n")
        (out / f"{name}.md").write_text(text)
