"""Where the scale of a study differs from the paper's, for captions: only what differs, with the paper's value."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from analysis.rows import Study
from analysis.settings import ABSENT, lookup, text, values
from moore.base.errors import UserError

PAPER = Path(__file__).resolve().parents[1] / "ablations" / "scales" / "paper.yaml"
KEYS = {  # what a caption says -> key of the config
    "N_off": "dataset_transitions",
    "S": "online.epoch_steps",
    "T": "online.epochs",
    "updates per online step": "online.utd_ratio",
    "offline updates": "offline.updates",
    "hidden layers": "sac.hidden",
}


def deviations(study: Study) -> str:
    """One sentence: MOORe's settings that are not those of the scale `paper`, and a smaller or larger number of seeds.

    Nothing for a study without configs in its manifest. Raises UserError if the scale's file lacks one of the keys.
    """
    found = {name: values(study, study.main, key) for name, key in KEYS.items()}
    if not any(found.values()):
        return ""
    published = _paper(PAPER)
    parts = [
        f"{name} {_spaced(several)} ({_spaced([published[name]])})"
        for name, several in found.items()
        if several not in ([], [published[name]])
    ]
    seeds = study.owners.loc[study.owners["method"] == study.main, "seed"].nunique()
    if seeds != published["seeds"]:
        parts.append(f"seeds {seeds} ({published['seeds']})")
    return f"Not at the paper's scale (its value in brackets): {', '.join(parts)}." if parts else ""


@lru_cache(maxsize=1)
def _paper(path: Path) -> dict[str, Any]:
    try:
        scale = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from None
    known = {name: lookup(scale, f"defaults.{key}") for name, key in KEYS.items()} | {"seeds": lookup(scale, "seeds")}
    for name, value in known.items():
        if value is ABSENT:
            raise UserError(f"{path}: {KEYS.get(name, name)}: missing; captions compare studies with this scale")
    return known | {"seeds": len(known["seeds"])}


def _spaced(several: list[Any]) -> str:
    """As in YAML, with spaces between thousands: `10 000 or 20 000`."""
    return " or ".join(f"{v:,}".replace(",", " ") if type(v) is int else text([v]) for v in several)
