"""Where the panel of each task stands: environments as rows and qualities as columns, in the order of the paper."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from analysis.rows import environment

ENVIRONMENTS = ("halfcheetah", "walker2d", "hopper")  # the rows of the paper's Figure 1
QUALITIES = ("medium-expert", "medium-replay", "medium", "random")  # and its columns
PER_ROW = 4
Layout = list[list[str | None]]


def quality(dataset: str) -> str:
    """`medium-replay` in `d4rl:hopper-medium-replay-v2`; empty where the id does not say."""
    name = re.sub(r"-v\d+$", "", dataset.split(":", 1)[-1].rsplit("/", 1)[-1])
    return name.removeprefix(environment(dataset)).removeprefix("-")


def layout(datasets: Sequence[str]) -> Layout:
    """Rows of panels, None where one stays empty.

    Up to `PER_ROW` tasks stand in one row, as given. More stand in a matrix of environments and qualities if that
    fills at least half of it, else in rows of `PER_ROW`.
    """
    if len(datasets) <= PER_ROW:
        return [list(datasets)]
    names = sorted(datasets, key=lambda name: (_rank(environment(name), ENVIRONMENTS), _rank(quality(name), QUALITIES)))
    of_task = {(environment(name), quality(name)): name for name in names}
    rows = list(dict.fromkeys(row for row, _ in of_task))
    columns = sorted({column for _, column in of_task}, key=lambda column: _rank(column, QUALITIES))
    unique, cells = len(of_task) == len(names), len(rows) * len(columns)
    if unique and len(rows) > 1 and 1 < len(columns) <= PER_ROW + 2 and 2 * len(names) >= cells:
        return [[of_task.get((row, column)) for column in columns] for row in rows]
    return wrap(names)


def wrap(names: Sequence[str]) -> Layout:
    """Rows of `PER_ROW`, the last one filled up with None."""
    padded = [*names, *[None] * (-len(names) % min(PER_ROW, max(1, len(names))))]
    width = min(PER_ROW, max(1, len(names)))
    return [padded[start : start + width] for start in range(0, width * math.ceil(len(names) / width), width)]


def _rank(name: str, order: Sequence[str]) -> tuple[int, str]:
    """The paper's first, the others after them by name."""
    return (order.index(name), "") if name in order else (len(order), name)
