"""Draws that nobody has planned."""

from collections.abc import Sequence

from torch import Tensor

from moore.algorithm.replay import RealBuffer
from moore.algorithm.sampling import ALL, Mixture, Split, part_of, plan


def draw(
    buffer: RealBuffer, mixtures: Sequence[Mixture], uniforms: Tensor, split: Split = ALL
) -> tuple[Tensor, Tensor]:
    """One draw from `buffer`, run r from mixtures[r]; see `Plan.draw`."""
    return plan(part_of(buffer, split), mixtures).draw(uniforms)
