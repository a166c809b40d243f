"""What commands log, on standard error: JSON for machines, lines for people. Never content of events.

Only our own events are logged in full. What other libraries log through `logging` is reduced to who, how grave and the
text of the format, without its arguments: a client library may quote bytes that it could not parse.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO, cast

import stamina.instrumentation
import structlog

TEXT_CHARS: Final = 200  # of another library's words


def log_json(level: str = "info") -> None:
    """Log one JSON object a line from now on.

    Args:
        level: least level of our own events; of other libraries, warnings and worse are logged.
    """
    _configure(level, structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer(default=str))


def log_for_people(level: str = "warning") -> None:
    """Log for a terminal from now on.

    Args:
        level: as for `log_json`.
    """
    _configure(level, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))


def _configure(level: str, *rendering: Any) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _StandardError())),
    )
    stamina.instrumentation.set_on_retry_hooks([])  # whoever tries again says so in its own words
    root = logging.getLogger()
    if not any(isinstance(handler, _Others) for handler in root.handlers):
        root.addHandler(_Others(logging.WARNING))


class _StandardError:
    """Whatever standard error is when something is written."""

    @staticmethod
    def write(text: str) -> int:
        return sys.stderr.write(text)

    @staticmethod
    def flush() -> None:
        sys.stderr.flush()


class _Others(logging.Handler):
    """Passes on what other libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record without its arguments."""
        more: dict[str, Any] = {}
        if record.exc_info and record.exc_info[0] is not None:
            more["error"] = record.exc_info[0].__name__
        text = str(record.msg).partition("\n")[0][:TEXT_CHARS]  # asyncio adds lines that show objects
        structlog.get_logger().log(record.levelno, "other", logger=record.name, text=text, **more)
