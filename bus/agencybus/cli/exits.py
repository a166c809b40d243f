"""What a command's exit code says. Scripts and systemd units rely on it, so it is an interface.

The code answers the caller's next question: mend the input (3), mend this machine (4), just run it again (5),
ask the authorities (6), look at a record (7), ask whoever runs the broker (8), or read what was found (9).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from agencybus.errors import Culprit, Reaction

if TYPE_CHECKING:
    from agencybus.errors import BusError


class Exit(IntEnum):
    """Exit codes of `agencybus`; `docs/operations.md` has the same table and a test compares them."""

    DONE = 0  # all of it was done
    BUG = 1  # a bug of ours: a traceback, no code
    USAGE = 2  # the command line is wrong
    REFUSED = 3  # the input was refused; nothing was sent
    SETUP = 4  # configuration, keys, state folder, disk or clock of this machine
    AGAIN = 5  # not done in time, nothing lost: the same command again will do
    DIRECTORY = 6  # the directory, or the authorities' rules, say no
    RECORD = 7  # a record fails a check
    BROKER = 8  # the broker lost or refuses something that a second try does not mend
    FINDINGS = 9  # done, and something was found or left out; the output says what
    INTERRUPTED = 130  # Ctrl-C, after a clean stop
    PIPE_CLOSED = 141  # whoever read the output went away


_BY_CULPRIT: Final = {
    Culprit.CALLER: Exit.REFUSED,
    Culprit.OPERATOR: Exit.SETUP,
    Culprit.DIRECTORY: Exit.DIRECTORY,
    Culprit.WRITER: Exit.RECORD,
    Culprit.BROKER: Exit.BROKER,
}


def exit_code(error: BusError) -> Exit:
    """The exit code for a documented error: what may be tried again first, then whose fault it is."""
    if error.code == "usage":
        return Exit.USAGE
    if error.reaction in {Reaction.RETRY, Reaction.WAIT}:
        return Exit.AGAIN
    return _BY_CULPRIT[error.culprit]
