"""Other people's published numbers, for orientation beside a study's own: io/published.yaml."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from moore.base.strict import FORBID, load_yaml

PUBLISHED = Path(__file__).parent / "published.yaml"
VALUE = re.compile(r"(?:(-?[\d.]+) -> )?(-?[\d.]+)(?: ± ([\d.]+))?")
Value = Annotated[str, Field(pattern=f"^{VALUE.pattern}$")]  # `end`, `end ± spread` or `start -> end`


@dataclass(frozen=True, config=FORBID)
class Source:
    """One published table or figure; `values`: task (`hopper-medium`) -> one text for every method."""

    name: str
    source: str
    by_eye: bool
    unit: Literal["score", "return"]
    data: str
    budget: str
    seeds: str
    spread: str | None
    methods: list[str]
    values: dict[str, list[Value]]
    offline: bool = False

    @model_validator(mode="after")
    def _one_value_each(self) -> Source:
        for task, texts in self.values.items():
            if len(texts) != len(self.methods):
                raise ValueError(f"{self.name}: {task}: {len(texts)} values for {len(self.methods)} methods")
        return self

    @property
    def described(self) -> str:
        """Say where the numbers come from and what they were measured with."""
        spread = f"; ± is {self.spread}" if self.spread else ""
        eye = "; read off the figure by eye" if self.by_eye else ""
        return f"{self.name}: {self.source}; {self.data}; {self.budget}; seeds: {self.seeds}{spread}{eye}."


@dataclass(frozen=True, config=FORBID)
class _File:
    sources: Annotated[list[Source], Field(min_length=1)]


@cache
def load_published(path: Path = PUBLISHED) -> list[Source]:
    """Read the sources of a file. Raises UserError naming the file, the key and what is accepted."""
    return load_yaml(path, _File).sources
