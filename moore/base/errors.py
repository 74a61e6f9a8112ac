"""Errors that the command line prints as one line; it exits with code 2, a unit of work with what they say here."""

import os


class UserError(Exception):
    """Bad input: the message names the file, the key and what is accepted, in one line."""

    exit_code = 2  # of a unit: it ends the same whenever it is tried again


class Unavailable(UserError):
    """Not the input but its surroundings, which may change: a full disk, a file that someone else holds."""

    exit_code = os.EX_IOERR  # 74
