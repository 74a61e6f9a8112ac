"""The one error that a user's input can cause; the command line prints it as one line and exits with code 2."""


class UserError(Exception):
    """Bad input: the message names the file, the key and what is accepted, in one line."""
