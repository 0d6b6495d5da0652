"""What is predicted from what, and how it is trained: frozen dataclasses. Standard library only."""

from dataclasses import dataclass


class InputError(ValueError):
    """What a user gave cannot be used. One line: the thing, what was expected, `Received: ...`.

    Command lines print it without a traceback and exit with code 2.
    """
