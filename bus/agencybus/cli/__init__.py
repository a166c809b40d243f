"""The command `agencybus`: one module per group of commands, loaded when one of its commands runs.

`main` is the one place where an error becomes a message and an exit code (`exits.py`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: words of the command line after the program's name; those of the process by default.

    Returns:
        The exit code, as `exits.Exit` documents them.
    """
    import typer

    from agencybus.cli import output, tree
    from agencybus.cli.exits import Exit
    from agencybus.errors import ConfigError

    words = list(sys.argv[1:] if arguments is None else arguments)
    output.choose_json(asked=False)
    try:
        code = tree.root().main(words, prog_name="agencybus", standalone_mode=False)
    except typer.TyperException as wrong:  # the command line, as typer reads it
        context = getattr(wrong, "ctx", None)
        usage = context.get_usage() if context else "agencybus --help"
        if wrong.format_message():  # empty for a group without a command: its help has been printed already
            output.complain(ConfigError("usage", wrong.format_message(), hint=usage))
        return int(wrong.exit_code)
    except typer.Abort:  # Ctrl-C or end of file at a question
        return Exit.INTERRUPTED
    return code if isinstance(code, int) else Exit.DONE
