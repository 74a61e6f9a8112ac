"""The shipped behaviour policies beside D4RL's levels, from their provenance files."""

from __future__ import annotations

from moore.data.behaviours import BEHAVIOURS_DIR, load_behaviours
from moore.data.d4rl import D4RL_SETS
from moore.data.scores import normalized_score


def behaviours_table() -> str:
    """A Markdown table: for every environment the scores reached, D4RL's, steps, time and settings of the training."""
    lines = [
        "| environment | medium: score (D4RL's set) | expert: score (D4RL's set) | steps | wall h | training |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for path in sorted(BEHAVIOURS_DIR.glob("*.npz")):
        shipped = load_behaviours(path.stem)
        of_d4rl = D4RL_SETS.get(shipped.env, {})
        cells = []
        for snapshot, quality in ((shipped.medium, "medium"), (shipped.expert, "expert")):
            published = of_d4rl[quality].mean if quality in of_d4rl else None
            theirs = "" if published is None else f" ({normalized_score(shipped.env, published):.0f})"
            cells.append("-" if snapshot is None else f"{shipped.scores[snapshot]:.0f}{theirs}")
        curve, hours = shipped.provenance["curve"], shipped.provenance["wall_seconds"] / 3600
        command = shipped.provenance["command"].removeprefix("python -m ")
        lines.append(f"| {shipped.env} | {cells[0]} | {cells[1]} | {curve[-1][0]} | {hours:.1f} | `{command}` |")
    return "\n".join(lines) + (
        "\n\nNormalised score of the stochastic policy over 10 episodes at the snapshots behind the qualities `medium` "
        "and `expert`. The latter is the best of the ladder and so looks a little better than it is; `moore data "
        "describe` gives the mean of a dataset. Wall time on a machine that other jobs shared.\n"
    )
