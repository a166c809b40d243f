"""The memory of references against a plain dictionary: adds, failures, restarts and pruning in any order."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import states
from agencybus.state import ReaderState, references
from agencybus.state.reader import REMEMBERED_US

ORIGINATOR = "mx.anam/aduanas"
ADD = st.tuples(st.just("add"), st.lists(st.integers(0, 200), max_size=25))
FAIL = st.tuples(st.just("fail"), st.lists(st.integers(0, 200), max_size=25))
REOPEN = st.tuples(st.just("reopen"), st.lists(st.integers(), max_size=0))
PRUNE = st.tuples(st.just("prune"), st.lists(st.integers(0, 30), min_size=1, max_size=1))
STEPS = st.lists(st.one_of(ADD, ADD, ADD, FAIL, REOPEN, PRUNE), max_size=40)


def seen(state: ReaderState, numbers: list[int], at: int) -> list[bool]:
    with state.transaction(sync=False) as step:
        return step.seen(ORIGINATOR, [states.key(number) for number in numbers], at=at)


def fail(state: ReaderState, numbers: list[int], at: int) -> None:
    with suppress(ZeroDivisionError), state.transaction(sync=False) as step:
        step.seen(ORIGINATOR, [states.key(number) for number in numbers], at=at)
        _ = 1 / 0


def expected(model: dict[int, int], numbers: list[int], hour: int) -> list[bool]:
    before = []
    for number in numbers:
        before.append(number in model)
        model.setdefault(number, hour)
    return before


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_references_are_what_a_dictionary_would_remember(steps: list[tuple[str, list[int]]]) -> None:
    model: dict[int, int] = {}  # number -> hour
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name, size in {"RECENT_KEYS": 60, "PRUNE_ROWS": 4}.items():
            patch.setattr(references, name, size)
        state = states.reader(Path(folder))
        for hour, (what, numbers) in enumerate(steps):
            at = states.NOON + hour * states.HOUR
            match what:
                case "add":
                    assert seen(state, numbers, at) == expected(model, numbers, hour)
                case "fail":
                    fail(state, numbers, at)
                case "reopen":
                    state.close()
                    state = states.reader(Path(folder))
                case _:
                    state.prune(at=states.NOON + numbers[0] * states.HOUR + REMEMBERED_US)
                    model = {number: added for number, added in model.items() if added >= numbers[0]}
        assert state.known(ORIGINATOR, [states.key(n) for n in range(201)]) == [n in model for n in range(201)]
        state.close()
