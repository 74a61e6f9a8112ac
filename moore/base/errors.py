"""Errors that the command line prints as one line; it exits with code 2, a unit of work with what they say here."""

import os
import re


class UserError(Exception):
    """Bad input: the message names the file, the key and what is accepted, in one line."""

    exit_code = 2  # of a unit: it ends the same whenever it is tried again

    def __str__(self) -> str:
        """Write what ends a line, in a key that the user typed, as YAML and Python spell it."""
        return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", lambda found: repr(found[0])[1:-1], super().__str__())


class Unavailable(UserError):
    """Not the input but its surroundings, which may change: a full disk, a file that someone else holds."""

    exit_code = os.EX_IOERR  # 74
