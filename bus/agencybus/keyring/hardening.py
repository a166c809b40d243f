"""Keep the secrets of this process out of core dumps and of other processes of the same user."""

from __future__ import annotations

import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def harden_process() -> tuple[str, ...]:
    """Forbid core dumps, and (Linux) reading this process's memory with ptrace or /proc. Call it before keys are read.

    A process that is not dumpable also hides its /proc/self/fd from itself unless it is root: tools that count open
    files see none.

    Returns:
        What could not be done, in words; empty if all was.
    """
    failed = []
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):
        failed.append("core dumps are possible")
    try:
        done = ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    except (AttributeError, OSError):  # no prctl: not Linux
        done = False
    if not done:
        failed.append("memory can be read by other processes of this user")
    return tuple(failed)
