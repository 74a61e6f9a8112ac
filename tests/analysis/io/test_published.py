"""The file of other people's numbers: copied right, and what a broken one says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.io.published import load_published
from tests.support.errors import one_line

QUALITIES = ("medium-expert", "medium-replay", "medium", "random")
TWELVE = {f"{env}-{quality}" for env in ("halfcheetah", "hopper", "walker2d") for quality in QUALITIES}
PARS_MEANS = {"CQL": 64.1, "PEX": 67.2, "RLPD": 96.2, "Cal-QL": 66.3, "Uni-O4": 62.8, "PARS": 111.6}


# Printed below the tables of the OPT paper (sums) and of the PARS paper (means): they catch a mistyped entry.
OPT_SUMS = {
    "TD3": 752.4, "Off2On": 860.9, "OEMA": 694.6, "PEX": 588.8, "ACA": 738.5, "FamO2O": 504.4, "Cal-QL": 586.8,
    "TD3+OPT": 939.1, "IQL": 478.7,
}  # fmt: skip


def test_the_shipped_numbers_add_up_to_the_printed_totals() -> None:
    sources = {one.name: one for one in load_published()}
    for name, totals, tasks in (("OPT paper", OPT_SUMS, 1), ("PARS paper", PARS_MEANS, 9)):
        one = sources[name]
        assert len(one.values) == 9
        for method, total in totals.items():
            entries = [float(row[one.methods.index(method)].split(" ")[0]) for row in one.values.values()]
            assert sum(entries) / tasks == pytest.approx(total, abs=0.11), method
    assert all(set(one.values) <= TWELVE for one in sources.values())
    assert set(sources["MOORe paper"].values) == TWELVE
    assert [one.name for one in sources.values() if one.by_eye] == ["MOORe paper", "ENOTO paper"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": {"hopper-medium": ["1.0"]}}, "Two: hopper-medium: 1 values for 2 methods"),
        ({"values": {"hopper-medium": ["1.0", "2 +- 3"]}}, "hopper-medium[1]: '2 +- 3' is not accepted"),
    ],
)
def test_mistakes_in_the_file_are_one_line_errors(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    known = {"name": "Two", "source": "s", "by_eye": False, "unit": "score", "data": "d", "budget": "b", "seeds": "1"}
    entry = {**known, "spread": None, "methods": ["A", "B"], "values": {"hopper-medium": ["1.0", "-2 -> 3"]}}
    file = tmp_path / "published.yaml"
    file.write_text(yaml.safe_dump({"sources": [entry]}), encoding="utf-8")
    assert len(load_published(file)) == 1
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({"sources": [entry | change]}), encoding="utf-8")
    assert one_line(lambda: load_published(other), message).startswith(f"{other}: ")
