"""States of training as files, and the content-addressed cache of offline stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch.serialization import get_crc32_options, set_crc32_options

from moore.run.sealed import check_seal, sealing


def save(path: Path, state: Any, number: int = 0) -> None:
    """Write tensors, numbers, texts and containers of them as a sealed file, which torch.load reads too.

    Raises UserError where there is no room or no right to write; the old file stays.
    """
    with sealing(path, number) as content:
        zip_crc = get_crc32_options()
        set_crc32_options(False)  # torch's own CRC32 takes longer than all the rest, and its reader never looks at it
        try:
            torch.save(state, cast(BinaryIO, content))
        except RuntimeError:  # torch's words for an error of the file, which says more itself
            if content.error is None:
                raise
            raise content.error from None
        finally:
            set_crc32_options(zip_crc)


def load(path: Path, device: torch.device | str = "cpu") -> Any:
    """What `save` wrote; what was on an accelerator comes to `device`. Raises as `check_seal`."""
    check_seal(path)
    place = lambda storage, where: storage if where == "cpu" else storage.to(device=torch.device(device))  # noqa: E731
    return torch.load(path, map_location=place, weights_only=True)
