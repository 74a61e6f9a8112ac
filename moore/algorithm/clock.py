"""The cursor that Algorithm 1 is written with: a loop that was cut off anywhere goes on there."""

from collections.abc import Callable, Iterator

from moore.networks.state import State

SafePoint = Callable[[], None]  # called wherever the state is all that is needed to go on


class Clock(State):
    """Where a loop over epochs and steps stands, and which parts of the step under way are done.

    The parts of a step are its calls of `once` and `repeat`, by their order; what decides whether they are reached must
    be the same after a checkpoint as before it.
    """

    def __init__(self) -> None:
        self.t, self.tau = 1, 1  # epoch and step, both from 1
        self.done, self.left = 0, 0  # parts of the step that are done; rounds that the part under way still owes
        self._part, self._safe_point = 0, nothing

    def steps(self, epochs: int, steps: int, safe_point: SafePoint) -> Iterator[tuple[int, int]]:
        """Yield (t, tau) from where the clock stands to the last step of the last epoch."""
        self._safe_point = safe_point
        while self.t <= epochs:
            self._part = 0
            yield self.t, self.tau
            self.done = 0
            self.t, self.tau = (self.t, self.tau + 1) if self.tau < steps else (self.t + 1, 1)
            safe_point()

    def once(self, move: Callable[..., None], *args: object) -> None:
        """Call move(*args), unless this part of the step was done before a checkpoint."""
        self._part += 1
        if self.done < self._part:
            move(*args)
            self.done = self._part
            self._safe_point()

    def repeat(self, move: Callable[..., None], *args: object, times: int, at_most: int) -> None:
        """Call move(*args, n) in rounds of at most `at_most` that add up to `times`, or to what a checkpoint left."""
        self._part += 1
        if self.done < self._part:
            self.left = self.left or times
            while self.left:
                count = min(self.left, at_most)
                move(*args, count)
                self.left -= count
                if self.left:
                    self._safe_point()
            self.done = self._part


def nothing() -> None:
    """Save nothing."""
