"""Buffers on the run axis, against plain Python containers."""

from collections import deque

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from moore.algorithm.replay import ModelBuffer, RealBuffer
from moore.networks.batch import pack, unpack

OBS, ACT = 2, 1
WIDTH = 2 * OBS + ACT + 2


def numbered(*ids: int) -> Tensor:
    """Rows [N, WIDTH] whose entries tell the row and the column."""
    return torch.tensor(ids)[:, None] + torch.arange(WIDTH) / 10.0


def test_pack_keeps_every_field() -> None:
    """Breaks if a field lands in another's columns."""
    fields = unpack(numbered(0, 100).view(2, 1, WIDTH), OBS)
    assert [tuple(x.shape) for x in fields] == [(2, 1, OBS), (2, 1, ACT), (2, 1), (2, 1, OBS), (2, 1)]
    assert fields.terminated.tolist() == [[pytest.approx(0.6)], [pytest.approx(100.6)]]
    assert torch.equal(pack(fields), numbered(0, 100).view(2, 1, WIDTH))
    assert pack(fields._replace(terminated=torch.ones(2, 1, dtype=torch.bool)))[..., -1].tolist() == [[1.0], [1.0]]


def test_real_buffer_keeps_runs_apart() -> None:
    """Breaks if datasets or online parts of different runs overlap."""
    first, second = numbered(*range(3)), numbered(*range(10, 15))
    buffer = RealBuffer([first, second], [1, 0, None, 1], OBS, ACT, online_capacity=4)
    expected: list[list[int]] = [[*range(10, 15)], [*range(3)], [], [*range(10, 15)]]
    for step in range(4):
        ids = [1000 * (run + 1) + step for run in range(4)]
        buffer.append(unpack(numbered(*ids), OBS))
        for run, one in enumerate(ids):
            expected[run].append(one)
    assert buffer.online_size == 4
    for run, ids in enumerate(expected):
        assert torch.equal(pack(buffer.all_of(run)), numbered(*ids))
    index = torch.stack([buffer.offline_start, buffer.online_start + 3], 1)
    rows = pack(buffer.gather(index))
    assert torch.equal(rows[:, 1], numbered(1003, 2003, 3003, 4003))
    assert torch.equal(rows[[0, 1, 3], 0], numbered(10, 0, 10))


@given(st.data())
def test_model_buffer_is_a_deque_per_run(data: st.DataObject) -> None:
    """Breaks if runs that fill at different speeds lose order, overwrite the wrong row or count wrongly."""
    batch_size = data.draw(st.integers(1, 5))
    capacity = data.draw(st.integers(batch_size, 12))  # the buffer's contract
    masks = data.draw(st.lists(st.lists(st.booleans(), min_size=2 * batch_size, max_size=2 * batch_size), max_size=12))
    buffer = ModelBuffer(2, capacity, OBS, ACT)
    plain: list[deque[int]] = [deque(maxlen=capacity) for _ in range(2)]
    for step, mask in enumerate(masks):
        ids = torch.arange(2 * batch_size) + 100 * step
        valid = torch.tensor(mask).view(2, batch_size)
        buffer.append(unpack(numbered(*ids.tolist()).view(2, batch_size, WIDTH), OBS), valid)
        for run in range(2):
            plain[run].extend(ids.view(2, batch_size)[run][valid[run]].tolist())
    assert buffer.size.tolist() == [len(run) for run in plain]
    for run in range(2):
        size = int(buffer.size[run])
        everything = buffer.gather(torch.arange(size).expand(2, -1)) if size else None
        held = [] if everything is None else everything.obs[run, :, 0].tolist()
        oldest = int(buffer.written[run]) % capacity if size == capacity else 0
        assert held[oldest:] + held[:oldest] == list(plain[run])
