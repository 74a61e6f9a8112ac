"""What of a study is drawn, and how: the one set of choices behind `moore plot`, notebooks and code."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from analysis.io.methods import listed
from analysis.io.rows import Results, environment, task_label
from analysis.plots.looks import Drawn, drawn_as, highlighted
from analysis.stats.compare import most_seeds
from moore.base.errors import UserError

X = Literal["steps", "wall", "updates"]
Y = Literal["score", "return"]
COLUMN, WIDTHS = 3.25, (3.25, 20.0)  # inches: a column of a page, and what is accepted
PAGE = 6.75  # both columns
FEW = 5  # seeds, below which each is drawn: a band over so few says little
GREY = Drawn("0.78", "-", "other methods")


@dataclass(frozen=True, eq=False)
class View:
    """`study`: the chosen tasks and methods; `looks`: of its methods, in the order of the legend; `titles`: of tasks.

    `width` in inches. `x`, `y` and `seeds` (each seed as a thin line) are of learning curves alone.
    """

    study: Results
    looks: Mapping[str, Drawn]
    titles: Mapping[str, str]
    width: float | None = None
    x: X = "steps"
    y: Y = "score"
    seeds: bool = False

    @cached_property
    def lines(self) -> dict[str, Drawn]:
        """The looks of lines that share a panel: grey but for the `highlighted`."""
        front = highlighted(self.study)
        return {name: look if name in front else GREY for name, look in self.looks.items()}

    def among(self, methods: Iterable[str]) -> dict[str, Drawn]:
        """List the `lines` of these methods, those in grey first, so that they lie behind."""
        shown = set(methods)
        found = {name: look for name, look in self.lines.items() if name in shown}
        return dict(sorted(found.items(), key=lambda item: item[1] != GREY))

    @property
    def labels(self) -> list[str]:
        """The methods' names for people, in the order of the legend."""
        return [look.label for look in self.looks.values()]

    def label(self, method: str) -> str:
        """Return a method's name for people."""
        return self.looks[method].label

    @property
    def reference(self) -> str:
        """What an axis calls the method that the others are compared with."""
        name = self.label(self.study.main)
        return name if len(name) <= 12 else "reference"

    def greyed(self, shown: Iterable[str]) -> str:
        """Say which of the methods are grey, or nothing."""
        grey = [self.label(name) for name, look in self.among(shown).items() if look == GREY]
        return f" In colour: the reference and the best final scores; grey: {', '.join(grey)}." if grey else ""


def view(
    study: Results,
    methods: Sequence[str] = (),
    tasks: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    x: X = "steps",
    y: Y = "score",
    seeds: bool | None = None,
) -> View:
    """Choose what is drawn: methods and tasks, all by default, by id or by their name for people.

    labels: id -> name in place of ours. width: inches; by default a column for one or two panels, else a page. seeds:
    by default where there are fewer than `FEW`. A method looks the same whatever is chosen beside it. Raises UserError
    naming the option, and for datasets of several sources.
    """
    looks, titles = drawn_as(study), {name: task_label(name) for name in study.datasets}
    if len(set(titles.values())) < len(titles):
        titles = {name: name for name in titles}
    kept = _chosen("--methods", methods, {name: look.label for name, look in looks.items()})
    shown = _chosen("--tasks", tasks, titles)
    for name in labels or {}:
        _chosen("--labels", [name], dict.fromkeys([*looks, *titles], ""))
    if width is not None and not WIDTHS[0] <= width <= WIDTHS[1]:
        raise UserError(f"--width: {width:g} is not accepted; expected {WIDTHS[0]} to {WIDTHS[1]:g} inches")
    names = {name: look.label for name, look in looks.items()} | titles | dict(labels or {})
    part = _narrowed(study, kept, shown)
    drawn = {name: look._replace(label=names[name]) for name, look in looks.items() if name in kept}
    each = most_seeds(part) < FEW if seeds is None else seeds
    return View(part, drawn, {name: names.get(name, name) for name in part.datasets}, width, x, y, each)


def _chosen(option: str, wanted: Sequence[str], known: Mapping[str, str]) -> list[str]:
    """List the ids of what is wanted by id or by name for people, in the order of `known`; all for nothing."""
    ids = {label: name for name, label in known.items()} | {name.split(":", 1)[-1]: name for name in known}
    ids |= {name: name for name in known}
    if unknown := [name for name in wanted if name not in ids]:
        raise UserError(f"{option}: {unknown[0]!r} is not in this study; accepted: {', '.join(known)}")
    chosen = {ids[name] for name in wanted} or set(known)
    return [name for name in known if name in chosen]


def _narrowed(study: Results, methods: Sequence[str], tasks: Sequence[str]) -> Results:
    """Return the rows of these tasks, online of these methods alone; runs from scratch with their environments."""
    if len(methods) == len(study.methods) and len(tasks) == len(study.datasets):
        return study
    rows, scratch = study.rows, {f"none:{environment(name)}" for name in tasks}
    kept = rows["dataset"].isin([*tasks, *scratch]) & (rows["method"].isin(methods) | (rows["phase"] == "offline"))
    if not (kept & (rows["phase"] == "online")).any():
        raise UserError(f"study {study.name}: no rows of {listed([*methods])} on {listed([*tasks])}")
    return replace(study, rows=rows[kept].reset_index(drop=True))
