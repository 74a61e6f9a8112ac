"""Draws that nobody has planned, from buffers whose rows are numbered."""

from collections.abc import Sequence

import torch
from torch import Tensor

from moore.algorithm.draws import ALL, Plan, Split
from moore.algorithm.replay import RealBuffer
from moore.algorithm.sampling import Mixture
from moore.networks.batch import unpack
from moore.networks.random import Streams


def draw(
    buffer: RealBuffer, mixtures: Sequence[Mixture], uniforms: Tensor, split: Split = ALL
) -> tuple[Tensor, Tensor]:
    """One draw from `buffer`, run r from mixtures[r]; see `Plan.draw`."""
    return Plan(buffer, mixtures, split, {}).draw(uniforms)


def filled(n_off: list[int | None], n_on: int) -> RealBuffer:
    """A buffer whose rows are numbered, with one dataset per run that has one."""
    sizes = [n for n in n_off if n is not None]
    names = iter(range(len(sizes)))
    buffer = RealBuffer(
        [torch.zeros(n, 5) for n in sizes], [None if n is None else next(names) for n in n_off], 1, 1, n_on
    )
    for _ in range(n_on):
        buffer.append(unpack(torch.zeros(len(n_off), 5), 1))
    return buffer


def uniforms(runs: int, count: int, seed: int = 0) -> Tensor:
    return Streams([seed + run for run in range(runs)], "draw").uniform(2, count).transpose(0, 1)
