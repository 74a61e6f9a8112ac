"""The paper's claims as hypotheses, read strictly: a typo is an error, not a claim that is never checked."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from analysis.stats.intervals import CONFIDENCE
from analysis.stats.transfer import METRICS
from moore.base.strict import FORBID, Positive, load_yaml, nearest

CLAIMS = Path(__file__).parent / "claims.yaml"
FALLS = {  # of the mean uncertainty until the last 10 % of online steps
    "uncertainty_fall": "relative fall of the mean uncertainty from the first to the last 10 % of online steps",
    "uncertainty_fall_offline": "relative fall of the mean uncertainty from the end of the offline to the online stage",
}
GROUPS = {  # name -> in words
    "main": "MOORe (the study's reference)",
    "rivals": "another method that learns online from the dataset",
    "pretrained": "another method that learns online after an offline stage",
    "controls": "a method from scratch or a frozen policy",
}
WORDS = {
    "final": "final score", "auc": "AUC", "auc_gain": "AUC above J_0", "early_drop": "J_0 minus mean early score",
    "j0": "J_0", "quarter": "score at a quarter of the budget", "late_drop": "best minus final score", **FALLS,
}  # fmt: skip
Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


def _known(metric: str) -> str:
    names = (*METRICS, *FALLS)
    if metric not in names:
        raise ValueError(f"one of {', '.join(names)}; {nearest(metric, names)}")
    return metric


@dataclass(frozen=True, config=FORBID)
class Hypothesis:
    """One kind of comparison, for every method that `ours` and `theirs` stand for; the keys are those of the file."""

    says: str
    test: Literal["mean", "difference", "equivalence"]
    metric: Annotated[str, AfterValidator(_known)]
    ours: Names
    theirs: tuple[Name, ...] = ()  # none in a test of a mean
    tasks: Literal["mean", "most"] = "mean"  # the mean over tasks, or more than half of the tasks each by itself
    above: Finite | None = None
    below: Finite | None = None
    within: Positive | None = None
    study: Name = "*"  # "!": all but these
    datasets: str = "*"

    @model_validator(mode="after")
    def _consistent(self) -> Hypothesis:
        accepted = ("within",) if self.test == "equivalence" else ("above", "below")
        given = [name for name in ("above", "below", "within") if getattr(self, name) is not None]
        if len(given) != 1 or given[0] not in accepted:
            found = ", ".join(given) or "none"
            raise ValueError(f"a test {self.test} takes one of {', '.join(accepted)}; found {found}")
        if bool(self.theirs) == (self.test == "mean"):
            raise ValueError(f"theirs: {'not read by' if self.theirs else 'missing in'} a test {self.test}")
        for field in (name for _, name, _, _ in Formatter().parse(self.says) if name is not None):
            if field not in (("ours", "theirs") if self.theirs else ("ours",)):
                raise ValueError(f"says: {{ours}}, or {{theirs}} where there are such, not {{{field}}}")
        return self

    @property
    def bound(self) -> str:
        """above, below or within."""
        return next(name for name in ("above", "below", "within") if getattr(self, name) is not None)

    @property
    def threshold(self) -> float:
        return float(getattr(self, self.bound))

    @property
    def confidence(self) -> float:
        """Two one-sided tests at 5 % are one 90 % interval inside the margins (Schuirmann 1987)."""
        return 0.9 if self.test == "equivalence" else CONFIDENCE

    @property
    def level(self) -> float:
        """Of each one-sided test: 2.5 %, or 5 % in an equivalence."""
        return (1 - self.confidence) / 2

    def meaning(self, ours: str, theirs: str) -> str:
        """Say it in numbers: `AUC of moore - X, above 0`."""
        of = f"{WORDS.get(self.metric, self.metric)} of {ours}" + (f" - {theirs}" if self.theirs else "")
        if self.bound == "within":
            return f"{of}, within ±{self.threshold:g} by its {100 * self.confidence:.0f} % interval"
        return f"{of}, {self.bound} {self.threshold:g}{' on more than half of the tasks' * (self.tasks == 'most')}"

    @property
    def needs(self) -> str:
        """What a study must have before this can be checked."""
        parts = [" or ".join(GROUPS.get(name, f"`{name}`") for name in names) for names in (self.ours, self.theirs)]
        where = "" if self.study[0] in "*!" else f" in a study `{self.study}`"
        data = "" if self.datasets == "*" else f" on a dataset `{self.datasets}`"
        return f"needs {' and '.join(part for part in parts if part)}{where}{data}"

    def covers(self, study: str) -> bool:
        """Tell whether a study is one that this is about."""
        return fnmatchcase(study, self.study.removeprefix("!")) != self.study.startswith("!")


@dataclass(frozen=True, config=FORBID)
class PaperClaim:
    """One sentence and what it says in numbers; it holds in a study if all of its comparisons do."""

    sentence: str
    hypotheses: Annotated[tuple[Hypothesis, ...], Field(min_length=1)]
    key: str = ""  # its name in the file


@cache
def load_claims(path: Path = CLAIMS) -> tuple[PaperClaim, ...]:
    """Read the claims of a file, in its order. Raises UserError naming the file, the key and what is accepted."""
    kind: Any = Annotated[dict[str, PaperClaim], Field(min_length=1)]
    found: dict[str, PaperClaim] = load_yaml(path, kind)
    return tuple(replace(claim, key=key) for key, claim in found.items())
