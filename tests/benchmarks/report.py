"""What every benchmark says of machine and code, and where it writes that with its rows."""

import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from moore.base.files import write_json
from moore.base.machine import short
from moore.networks.calls import GRAPHS
from moore.run.facts import environment_facts


def report_facts(device: str, load_before: float, start: float, **more: Any) -> dict[str, Any]:
    """Collect code, packages, machine (not its name), date, minutes since `start` (monotonic) and the load."""
    facts = {key: value for key, value in environment_facts().items() if key != "host"}
    return facts | {
        "device": device,
        "device_name": facts["gpu"]["name"] if device.startswith("cuda") else facts["machine"],
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "cuda_graphs": os.environ.get(GRAPHS) == "1",
        "minutes": (time.monotonic() - start) / 60,
        **more,
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
    }


def where(facts: Mapping[str, Any]) -> str:
    """Say in one line where and how the numbers were measured."""
    return (
        f"{facts['date']}, {facts['minutes']:.1f} minutes, {facts['threads']} threads, load {facts['load_before']:.1f} "
        f"before and {facts['load_after']:.1f} after, torch {facts['packages']['torch']}, mujoco "
        f"{facts['packages']['mujoco']}, Python {facts['python']}, CUDA graphs "
        f"{'on' if facts['cuda_graphs'] else 'off'}, commit {short(facts['git_commit'])}."
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> list[str]:
    """Lines of a Markdown table; the first `words` columns are words, the others numbers."""
    rule = ["---" if number < words else "---:" for number in range(len(columns))]
    return [f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows)]


def write_report(out: Path | None, name: str, facts: Mapping[str, Any], rows: Sequence[Any], text: str) -> None:
    """Print a report; with a folder, write <name>.md and .json there (<name>-cuda of a GPU)."""
    print(text)
    if out is not None:
        name = f"{name}-cuda" if facts["device"].startswith("cuda") else name
        write_json(out / f"{name}.json", {"facts": facts, "rows": rows})
        (out / f"{name}.md").write_text(text)
