"""The file of claims: the shipped one, and what a broken one says."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from analysis.claims.claims import CLAIMS, GROUPS, load_claims
from moore.studies.study import ABLATIONS_DIR, find_yaml, load_study
from tests.support.errors import one_line

GOOD = "{says: '{ours} ends like {theirs}', test: difference, metric: final, ours: [main], theirs: [rivals], above: 0}"


def test_the_shipped_file_states_the_papers_seven_claims_with_thresholds() -> None:
    claims = load_claims()
    numbers = [claim.sentence[:2] for claim in claims if not claim.sentence.startswith("(")]
    assert numbers == [f"{n}." for n in range(1, 8)]
    written = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    assert [claim.key for claim in claims] == list(written)
    for claim in claims:
        for hypothesis, entry in zip(claim.hypotheses, written[claim.key]["hypotheses"], strict=True):
            assert entry[hypothesis.bound] == hypothesis.threshold


def test_methods_named_in_the_shipped_file_are_in_the_shipped_studies() -> None:
    """A variant that is renamed in ablations/ would leave its claim without data for ever."""
    scale, methods = ABLATIONS_DIR / "scales/paper.yaml", {}
    plus = ("moore_plus", "moore_plus_draws", "locomotion_plus")
    for name in ("paper-methods", "sampling", "decay_rate", "penalty", *plus):
        methods[name] = {run.method for run in load_study(find_yaml(name, ABLATIONS_DIR), scale).runs}
    checked = 0
    for hypothesis in (one for claim in load_claims() for one in claim.hypotheses):
        studies = [found for name, found in methods.items() if hypothesis.covers(f"{name}-paper")]
        for name in {*hypothesis.ours, *hypothesis.theirs} - set(GROUPS):
            assert any(fnmatchcase(method, name) for found in studies for method in found), name
            checked += 1
    assert checked > 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("metric: final", "metric: fianl"), r"metric: 'fianl' is not accepted; .*did you mean 'final'"),
        (("above: 0", "within: 3"), "a test difference takes one of above, below; found within"),
        (("above: 0", "above: 0, below: 2"), "a test difference takes one of above, below; found above, below"),
        ((", above: 0", ""), "found none"),
        (("above: 0", "above: .nan"), "above"),
        (("test: difference", "test: mean"), "theirs: not read by a test mean"),
        (("theirs: [rivals], ", ""), "theirs: missing in a test difference"),
        (("test: difference", "test: equivalence"), "a test equivalence takes one of within; found above"),
        (("{ours} ends", "{our} ends"), r"says: .*not \{our\}"),
        (("{ours} ends", "{ours ends"), "field name"),
        (("ours: [main]", "ours: []"), "ours"),
    ],
)
def test_a_typo_is_one_line_that_names_the_key(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    file = tmp_path / "claims.yaml"
    assert change[0] in GOOD
    hypothesis = GOOD.replace(*change)
    file.write_text(f"one:\n  sentence: A sentence.\n  hypotheses:\n    - {hypothesis}\n", encoding="utf-8")
    said = one_line(lambda: load_claims(file))
    assert re.match(f"{re.escape(str(file))}: one.*{message}", said)
