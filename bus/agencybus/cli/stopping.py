"""Ctrl-C and SIGTERM: the first ends a command in order, a second one at once."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def stopping(stop: Callable[[], object]) -> Iterator[list[int]]:
    """Call `stop` on the first signal; the list has its number then. A second one ends the process as usual.

    Needs a running event loop.
    """
    loop, heard = asyncio.get_running_loop(), list[int]()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def hear(number: int) -> None:
        heard.append(number)
        for each in numbers:
            loop.remove_signal_handler(each)
        stop()

    for number in numbers:
        loop.add_signal_handler(number, hear, number)
    try:
        yield heard
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
