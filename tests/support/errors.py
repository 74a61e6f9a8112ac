"""What bad input must be answered with."""

from collections.abc import Callable

import pytest

from moore.base.errors import UserError


def one_line(call: Callable[[], object], *fragments: str) -> str:
    """The message of the UserError that `call` raises: one line that has every fragment."""
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message, message
    return message
