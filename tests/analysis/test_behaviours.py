"""The table of the behaviour policies follows their provenance files."""

from __future__ import annotations

import json

from analysis.output.facts import BEHAVIOURS, behaviours_table


def test_numbers_are_those_of_the_provenance() -> None:
    """Breaks if a row shows another snapshot, or D4RL's level of another quality (halfcheetah: returns 4770, 10656)."""
    provenance = json.loads((BEHAVIOURS / "halfcheetah.json").read_text())
    cells = {
        heads[0]: [str(cell.parts[0][1]) for cell in cells if cell.parts] for heads, cells in behaviours_table().rows
    }
    score = {steps: round(score) for steps, _, score in provenance["curve"]}
    medium = next(steps for steps, _, score in provenance["curve"] if score >= provenance["config"]["medium_score"])
    of_medium, of_expert, steps, _ = cells["halfcheetah"]
    assert of_medium == f"{score[medium]} (41)"
    assert of_expert == f"{max(score.values())} (88)"
    assert int(steps) == max(score)
    assert len(cells["pendulum"]) == 3  # its ladder ends at medium
