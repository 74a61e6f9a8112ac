"""The file of claims, read strictly: a typo is an error that names the key, not a claim that is never checked."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

import yaml

from analysis.stats import CONFIDENCE
from analysis.transfer import METRICS
from moore.base.errors import UserError

CLAIMS = Path(__file__).parent / "claims.yaml"
FALL = "uncertainty_fall"
TESTS = {"mean": ("above", "below"), "difference": ("above", "below"), "equivalence": ("within",)}  # and thresholds
GROUPS = {  # name -> in words
    "main": "MOORe (the study's reference)",
    "rivals": "another method that learns online from the dataset",
    "pretrained": "another method that learns online after an offline stage",
    "controls": "a method from scratch or a frozen policy",
}
REQUIRED = ("says", "test", "metric", "ours")
OPTIONAL = ("theirs", "above", "below", "within", "study", "datasets")
WORDS = {
    "final": "final score", "auc": "AUC", "early_drop": "J_0 minus mean early score", "j0": "J_0",
    FALL: "relative fall of the mean uncertainty from the first to the last 10 % of online steps",
}  # fmt: skip


@dataclass(frozen=True)
class Hypothesis:
    """One kind of comparison, for every method that `ours` and `theirs` stand for; the keys are those of the file."""

    says: str
    test: str
    metric: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]  # none in a test of a mean
    bound: str  # above, below or within
    threshold: float
    study: str = "*"
    datasets: str = "*"

    @property
    def confidence(self) -> float:
        """Two one-sided tests at 5 % are one 90 % interval inside the margins (Schuirmann 1987)."""
        return 0.9 if self.test == "equivalence" else CONFIDENCE

    def meaning(self, ours: str, theirs: str) -> str:
        """In numbers: `AUC of moore - X, above 0`."""
        of = f"{WORDS.get(self.metric, self.metric)} of {ours}" + (f" - {theirs}" if self.theirs else "")
        if self.bound == "within":
            return f"{of}, within ±{self.threshold:g} by its {100 * self.confidence:.0f} % interval"
        return f"{of}, {self.bound} {self.threshold:g}"

    @property
    def needs(self) -> str:
        """What a study must have before this can be checked."""
        parts = [" or ".join(GROUPS.get(name, f"`{name}`") for name in names) for names in (self.ours, self.theirs)]
        where = "" if self.study == "*" else f" in a study `{self.study}`"
        data = "" if self.datasets == "*" else f" on a dataset `{self.datasets}`"
        return f"needs {' and '.join(part for part in parts if part)}{where}{data}"


@dataclass(frozen=True)
class Claim:
    """One sentence and what it says in numbers; it holds on a task if all of its comparisons do."""

    key: str
    sentence: str
    hypotheses: tuple[Hypothesis, ...]


def load_claims(path: Path = CLAIMS) -> list[Claim]:
    """The claims of a file, in its order. Raises UserError naming the file, the key and what is accepted."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, Mapping) or not values:
        raise UserError(f"{path}: expected a mapping from names to claims")
    claims = []
    for key, entry in values.items():
        where = f"{path}: {key}"
        _check_keys(entry, ("sentence", "hypotheses"), (), where)
        listed = entry["hypotheses"]
        if not isinstance(entry["sentence"], str) or not isinstance(listed, list) or not listed:
            raise UserError(f"{where}: expected a sentence and a list of hypotheses")
        found = tuple(_hypothesis(one, f"{where}.hypotheses[{index}]") for index, one in enumerate(listed))
        claims.append(Claim(str(key), entry["sentence"], found))
    return claims


def _hypothesis(entry: Any, where: str) -> Hypothesis:
    _check_keys(entry, REQUIRED, OPTIONAL, where)
    _check_choice(entry["test"], tuple(TESTS), f"{where}.test")
    _check_choice(entry["metric"], (*METRICS, FALL), f"{where}.metric")
    bounds = [key for key in ("above", "below", "within") if key in entry]
    accepted = TESTS[entry["test"]]
    if len(bounds) != 1 or bounds[0] not in accepted:
        raise UserError(
            f"{where}: a test {entry['test']} takes one of {', '.join(accepted)}; found {', '.join(bounds) or 'none'}"
        )
    threshold = entry[bounds[0]]
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not math.isfinite(threshold):
        raise UserError(f"{where}.{bounds[0]}: {threshold!r} is not accepted; expected a number")
    if bounds == ["within"] and threshold <= 0:
        raise UserError(f"{where}.within: {threshold!r} is not accepted; expected a number above 0")
    if ("theirs" in entry) == (entry["test"] == "mean"):
        words = "not read by" if "theirs" in entry else "missing in"
        raise UserError(f"{where}.theirs: {words} a test {entry['test']}")
    texts = {key: entry.get(key, "*") for key in ("says", "study", "datasets")}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise UserError(f"{where}.{key}: {text!r} is not accepted; expected text")
    _check_template(texts["says"], ("ours", "theirs") if "theirs" in entry else ("ours",), f"{where}.says")
    ours = _names(entry["ours"], f"{where}.ours")
    theirs = _names(entry["theirs"], f"{where}.theirs") if "theirs" in entry else ()
    return Hypothesis(
        texts["says"], entry["test"], entry["metric"], ours, theirs, bounds[0], float(threshold),
        texts["study"], texts["datasets"],
    )  # fmt: skip


def _check_keys(entry: Any, required: Sequence[str], optional: Sequence[str], where: str) -> None:
    known = (*required, *optional)
    if not isinstance(entry, Mapping):
        raise UserError(f"{where}: expected a mapping with the keys {', '.join(known)}")
    for key in entry:
        if key not in known:
            raise UserError(f"{where}.{key}: unknown key; {_hint(key, known)}accepted: {', '.join(known)}")
    for key in required:
        if key not in entry:
            raise UserError(f"{where}.{key}: missing")


def _check_choice(value: Any, accepted: Sequence[str], where: str) -> None:
    if value not in accepted:
        raise UserError(f"{where}: {value!r} is unknown; {_hint(value, accepted)}accepted: {', '.join(accepted)}")


def _check_template(text: str, accepted: Sequence[str], where: str) -> None:
    try:
        fields = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise UserError(f"{where}: {text!r}: {error}") from None
    for name in fields:
        if name not in accepted:
            raise UserError(f"{where}: {{{name}}} is unknown; accepted: {', '.join(f'{{{n}}}' for n in accepted)}")


def _names(value: Any, where: str) -> tuple[str, ...]:
    """Names of methods or groups; that of a method may be anything, so no typo shows here."""
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"{where}: {value!r} is not accepted; expected a name or a list of names")
    return tuple(names)


def _hint(value: Any, accepted: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(value), accepted, 1)
    return f"did you mean {close[0]!r}? " if close else ""
