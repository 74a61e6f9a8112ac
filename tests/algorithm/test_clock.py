"""The cursor of Algorithm 1: cut off at any safe point, a loop does the same moves as uninterrupted."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moore.algorithm.clock import Clock

EPOCHS, STEPS, INTERVAL, UPDATES, AT_MOST = 2, 4, 2, 5, 2


class Cut(Exception):
    """The process is gone."""


class World:
    """What the moves change; a checkpoint holds it beside the clock."""

    def __init__(self) -> None:
        self.clock, self.moves = Clock(), list[tuple[Any, ...]]()

    def loop(self, cut_at: int) -> tuple[dict[str, Any], list[tuple[Any, ...]]] | None:
        """Run to the end, or to safe point number cut_at, whose checkpoint is returned."""
        points, saved = 0, None

        def safe_point() -> None:
            nonlocal points, saved
            points += 1
            if points == cut_at:
                saved = copy.deepcopy((self.clock.state(), self.moves))
                raise Cut

        do = lambda *move: self.moves.append(move)  # noqa: E731
        try:
            for t, tau in self.clock.steps(EPOCHS, STEPS, safe_point):
                self.clock.once(do, "act", t, tau)
                if tau % INTERVAL == 0:
                    self.clock.once(do, "train", t, tau)
                self.clock.repeat(do, "update", t, tau, times=UPDATES, at_most=AT_MOST)
        except Cut:
            return saved
        return None


def literal() -> list[tuple[Any, ...]]:
    """The moves as nested loops."""
    moves: list[tuple[Any, ...]] = []
    for t in range(1, EPOCHS + 1):
        for tau in range(1, STEPS + 1):
            moves.append(("act", t, tau))
            if tau % INTERVAL == 0:
                moves.append(("train", t, tau))
            moves += [("update", t, tau, 2), ("update", t, tau, 2), ("update", t, tau, 1)]
    return moves


@given(cuts=st.lists(st.integers(1, 12), max_size=8))
def test_any_cuts_change_nothing(cuts: list[int]) -> None:
    """Breaks if a part of a step is done twice or never after a checkpoint, or t and tau do not start at 1."""
    world = World()
    for cut in cuts:
        saved = world.loop(cut)
        if saved is None:
            break
        world = World()
        state, world.moves = saved
        world.clock.load(state)
    else:
        assert world.loop(0) is None
    assert world.moves == literal()
