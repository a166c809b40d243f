"""A child process that dies by SIGKILL before or after a named call: `python dying.py FOLDER STEP POINT WHEN`.

STEP is a function below, POINT the call to die at (`module:attribute.path`), WHEN `before` or `after`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import states
from agencybus.keyring import Keyring, Passphrase
from agencybus.lineage import Known
from agencybus.quarantine import Quarantine
from agencybus.state import Start
from agencybus.state.store import Store

PASSPHRASE = Passphrase(b"correct horse battery staple")


def lay_trap(point: str, when: str) -> None:
    """Replace what `point` names by the same with a death before or after it."""
    module, _, path = point.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    original: Callable[..., Any] = getattr(owner, name)

    def trap(*arguments: Any, **named: Any) -> Any:
        if when == "after":
            original(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, staticmethod(trap) if owner is Store else trap)


def make_writer(folder: Path) -> Callable[[], object]:
    return lambda: states.writer(folder)


def begin(folder: Path) -> Callable[[], object]:
    state = states.writer(folder)
    states.begin(state, 0)
    state.acknowledged(states.CHANNEL, 0, 0)
    return lambda: states.begin(state, 1, references=[states.reference(1)])


def acknowledged(folder: Path) -> Callable[[], object]:
    state = states.writer(folder)
    states.begin(state, 0)
    return lambda: state.acknowledged(states.CHANNEL, 0, 40)


def adopt(folder: Path) -> Callable[[], object]:
    state = states.writer(folder)
    states.begin(state, 0)
    return lambda: state.adopt(states.CHANNEL, 0, sequence=5, digest=states.digest(5), sealed_at=states.NOON, offset=50)


def put_audience_key(folder: Path) -> Callable[[], object]:
    state = states.writer(folder)
    return lambda: state.put_audience_key(states.audience_key())


def remember_start(folder: Path) -> Callable[[], object]:
    state = states.reader(folder)
    return lambda: state.remember_start(Start("now", states.NOON))


def step(folder: Path) -> Callable[[], object]:
    state = states.reader(folder)

    def work() -> None:
        with state.transaction() as tx:
            tx.head(states.LINEAGE, states.head(7))
            tx.window(states.LINEAGE, {7: Known(states.digest(7)[:16], seen=True)})
            tx.seen(states.LINEAGE.endpoint, [states.key(7)], at=states.NOON)
            tx.audience_key(states.audience_key())
            tx.quarantine(states.refused(7))
            tx.offset(states.TOPIC, 0, 8)

    return work


def arm(folder: Path) -> Callable[[], object]:
    state = states.reader(folder)
    return lambda: state.arm(states.TOPIC, 0, 8)


def discard(folder: Path) -> Callable[[], object]:
    step(folder)()
    desk = Quarantine.open(folder, states.STORAGE_KEY)
    return lambda: desk.discard(1, who="j.smith", why="test", at=states.NOON)


def save(folder: Path) -> Callable[[], object]:
    return lambda: Keyring.generate(states.ENDPOINT).save(folder / "keyring.json", PASSPHRASE)


def rotate(folder: Path) -> Callable[[], object]:
    Keyring.generate("us.cbp/old").save(folder / "keyring.json", PASSPHRASE)
    return lambda: Keyring.generate("us.cbp/new").save(folder / "keyring.json", PASSPHRASE, replace=True)


def write_for_ever(folder: Path) -> Callable[[], object]:
    """Begin and acknowledge without end; say each number once it is journalled, so that the parent knows."""
    state = states.writer(folder)

    def work() -> None:
        last = state.lineage(states.CHANNEL, 0)
        number = last.sequence + 1 if last else 0
        if last and last.in_flight:
            state.acknowledged(states.CHANNEL, 0, last.sequence)
        while True:
            states.begin(state, number, size=20_000, references=[states.reference(number)])
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            state.acknowledged(states.CHANNEL, 0, number)
            number += 1

    return work


if __name__ == "__main__":
    work_folder, step_name, trap_point, trap_when = sys.argv[1:]
    work = globals()[step_name](Path(work_folder))
    if trap_point != "-":
        lay_trap(trap_point, trap_when)
    work()
