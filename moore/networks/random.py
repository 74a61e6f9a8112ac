"""One random stream per run and purpose, so that a run's numbers depend on its own seed alone.

A cohort of R runs draws [R, ...] tensors whose row r comes from run r's generator. A run therefore sees the same
numbers alone, in a cohort, or in a fork, and evaluation never disturbs training.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from moore.networks.state import State


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for one purpose of one run (numpy SeedSequence over the seed and the purpose's checksum)."""
    words = [zlib.crc32(str(part).encode()) for part in purpose]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)[0] >> np.uint64(1))


class Streams(State):
    """R torch generators for one purpose, drawn from together."""

    def __init__(self, seeds: Sequence[int], *purpose: str | int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.generators = [torch.Generator(self.device).manual_seed(derive_seed(seed, *purpose)) for seed in seeds]

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal float32 [R, *shape]."""
        out = torch.empty(len(self.generators), *shape, device=self.device)
        for row, generator in zip(out, self.generators, strict=True):
            row.normal_(generator=generator)
        return out

    def uniform(self, *shape: int) -> Tensor:
        """Uniform float64 [R, *shape] in [0, 1). Double precision: float32 cannot address 1e6 rows evenly."""
        out = torch.empty(len(self.generators), *shape, device=self.device, dtype=torch.float64)
        for row, generator in zip(out, self.generators, strict=True):
            row.uniform_(generator=generator)
        return out

    def state(self) -> dict[str, Tensor]:
        """Return the generators' states, uint8 [R, n]."""
        return {"generators": torch.stack([generator.get_state() for generator in self.generators])}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for generator, row in zip(self.generators, state["generators"], strict=True):
            generator.set_state(row.clone())


def scale_to_index(uniform: Tensor, size: Tensor | int) -> Tensor:
    """Return indices floor(u * size) from uniforms [R, ...] and sizes [R, 1...] or a number; never equal to size."""
    return (uniform * size).long().clamp(max=(size.long() if isinstance(size, Tensor) else size) - 1)
