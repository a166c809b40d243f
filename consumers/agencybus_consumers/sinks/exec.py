"""Sink `exec`: a local program that reads events from its standard input, one line of JSON each (see lines.py).

    sink = { kind = "exec", command = ["/usr/local/bin/case-file", "--stdin"] }

At least once: the program says what it has by printing the event's id (`event.event_id`) on a line of its standard
output, when it has stored it, in any order. `ID refused` puts the event into quarantine instead. An event that was
not answered for comes again when the program, or the daemon, is started anew: same id, `redelivered: true`.

A program that answers nothing is run with `acknowledge = false`. An event is then done when the pipe has its line:
if the program dies, what it had not read (up to 64 KiB) is lost to it. Nothing in its output is looked at.

A program that dies, or gives no answer for `patience-seconds` while it owes some, is ended and started again, after
half a second at first, half a minute at last. Its standard error is dropped unless `stderr` names a file: a tool's own
words may hold content and have no place in the daemon's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections import defaultdict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Final

import msgspec
import stamina

from agencybus.config import Seconds, Table
from agencybus.errors import SinkError
from agencybus.subscribing.delivery import Delivery
from agencybus.wire.limits import KIB
from agencybus_consumers import lines
from agencybus_consumers.sinks import Alarm

BATCH: Final = 64  # events that a program owes an answer for at once: an urgent one waits behind so many at most
PAUSE_SECONDS: Final = 0.5  # before a dead program is started again, for the first time
PAUSE_MAX_SECONDS: Final = 30.0
KILL_SECONDS: Final = 2.0  # from SIGTERM to SIGKILL
LAST_WORDS_SECONDS: Final = 1.0  # for a program that seems to be dying: to be dead, and for its answers to arrive
ANSWER_BYTES: Final = 4 * KIB  # of one line of a program's output

Word = Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]


class ExecConfig(Table, frozen=True):
    """The table of the sink.

    Attributes:
        command: the program and its arguments; no shell.
        acknowledge: the program prints the id of each event that it has; see above what false means.
        patience_seconds: so long it may give no answer while it owes one.
        stop_seconds: so long it may take to end when its standard input ends.
        stderr: file that its standard error is appended to; dropped if left out.
    """

    command: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1)]
    acknowledge: bool = True
    patience_seconds: Seconds = 60.0
    stop_seconds: Seconds = 5.0
    stderr: Path | None = None


class _Item:
    """An event and how far it is."""

    __slots__ = ("answered", "delivery", "given")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.given = delivery.redelivered
        self.answered = False

    @property
    def id(self) -> str:
        return str(self.delivery.event.event_id)

    def line(self) -> bytes:
        """Its line, once more if it was given before."""
        line = lines.encode(self.delivery, redelivered=self.given)
        self.given = True
        return line


class ExecSink:
    """Runs the program, and runs it again."""

    Config: ClassVar[type[Table]] = ExecConfig
    keeps_position: ClassVar[bool] = False
    batch: ClassVar[int] = BATCH

    def __init__(self, config: ExecConfig, alarm: Alarm) -> None:
        self._config = config
        self._alarm = alarm
        self._program: Program | None = None

    async def start(self) -> None:
        """Start the program.

        Raises:
            SinkError: `sink-failed`: it can't be started.
        """
        self._program = await Program.start(self._config)

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Give the program the events until it has answered for each, however often it dies."""
        items = [_Item(delivery) for delivery in deliveries]
        async for attempt in stamina.retry_context(
            on=SinkError,
            attempts=None,
            timeout=None,
            wait_initial=PAUSE_SECONDS,
            wait_max=PAUSE_MAX_SECONDS,
            wait_jitter=PAUSE_SECONDS,
        ):
            with attempt:
                await self._try([item for item in items if not item.answered])

    async def close(self) -> None:
        """End the program, bounded."""
        program, self._program = self._program, None
        if program is not None:
            await program.stop()

    async def check(self) -> str:
        """Look for the program."""
        found = shutil.which(self._config.command[0])
        if found is None:
            raise SinkError("sink-failed", "the program is not there, or not executable", where=self._config.command[0])
        how = "answers with ids" if self._config.acknowledge else "gives no answers: what it has not read may be lost"
        return f"{found} {how}"

    async def _try(self, items: list[_Item]) -> None:
        try:
            if self._program is None:
                self._program = await Program.start(self._config)
            await self._program.take(items)
        except SinkError as error:
            self._alarm(error.code, error.what)
            await self.close()
            raise


class Program:
    """One run of the program."""

    def __init__(self, config: ExecConfig, process: Process, transport: asyncio.SubprocessTransport) -> None:
        self._config = config
        self._process = process
        self._transport = transport
        self._owed: defaultdict[str, deque[_Item]] = defaultdict(deque)
        self._news = asyncio.Event()  # an answer came
        self._exit = asyncio.create_task(process.wait())
        self._answers = asyncio.create_task(self._read_answers()) if process.stdout is not None else None

    @classmethod
    async def start(cls, config: ExecConfig) -> Program:
        """Start it, as the head of a process group of its own: Ctrl-C is for the daemon, which ends it in order.

        Raises:
            SinkError: `sink-failed`.
        """
        name, loop = config.command[0], asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            try:
                errors = asyncio.subprocess.DEVNULL
                if config.stderr is not None:
                    errors = os.open(config.stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
                    stack.callback(os.close, errors)
                # What `asyncio.create_subprocess_exec` does, but for the transport: the only way to close the pipes of
                # a program whose children keep them open.
                transport, protocol = await loop.subprocess_exec(
                    lambda: SubprocessStreamProtocol(limit=ANSWER_BYTES, loop=loop),
                    *config.command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE if config.acknowledge else asyncio.subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError as error:
                raise SinkError("sink-failed", f"it can't be started: {error.strerror}", where=name) from error
        process = Process(transport, protocol, loop)
        assert process.stdin is not None
        with contextlib.suppress(RuntimeError):  # uvloop's word for a pipe that is closed: it has died already
            process.stdin.transport.set_write_buffer_limits(high=0)  # drained means that the pipe has it all
        return cls(config, process, transport)

    async def take(self, items: Sequence[_Item]) -> None:
        """Give it events; return when all are answered for.

        Raises:
            SinkError: `sink-failed`: it died or hangs. Some of the items may be answered.
        """
        if self._exit.done():
            raise self._failed(_ending(self._exit.result()))
        giving = asyncio.create_task(self._give(items))
        try:
            await asyncio.wait({giving, self._exit}, return_when=asyncio.FIRST_COMPLETED)
            problem = giving.result() if giving.done() else ""
            if giving.done() and not problem:
                return
            await asyncio.wait({self._exit}, timeout=LAST_WORDS_SECONDS)
            if self._exit.done() and self._answers is not None:
                await asyncio.wait({self._answers}, timeout=LAST_WORDS_SECONDS)  # what it said before it died counts
            if not all(item.answered for item in items):
                raise self._failed(_ending(self._exit.result()) if self._exit.done() else problem)
        finally:
            giving.cancel()
            await asyncio.wait({giving})

    async def stop(self) -> None:
        """Let it end by itself, then make it; bounded."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.close()
        await asyncio.wait({self._exit}, timeout=self._config.stop_seconds)
        if not self._exit.done():
            self._signal(signal.SIGTERM)
            await asyncio.wait({self._exit}, timeout=KILL_SECONDS)
        self._signal(signal.SIGKILL)  # what it has started and left behind must not live beside its next run
        await asyncio.wait({self._exit}, timeout=KILL_SECONDS)
        if self._answers is not None:
            self._answers.cancel()
            await asyncio.wait({self._answers})
        self._transport.close()

    # --- inside

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def _give(self, items: Sequence[_Item]) -> str:
        """Write the lines and wait for the answers; what went wrong, or nothing."""
        stdin, seconds = self._process.stdin, self._config.patience_seconds
        assert stdin is not None
        self._owed.clear()
        for item in items:
            self._owed[item.id].append(item)
        try:
            for item in items:
                stdin.write(item.line())
                async with asyncio.timeout(seconds):
                    await stdin.drain()
                if not self._config.acknowledge:
                    item.answered = True
                    await item.delivery.done()
        except TimeoutError:
            return f"reads nothing for {seconds:g} s"
        except (ConnectionError, RuntimeError):  # the latter: as above
            return "closed its standard input"
        while not all(item.answered for item in items):
            self._news.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                return f"gives no answer for {seconds:g} s"
        return ""

    async def _read_answers(self) -> None:
        """Take answers until the program ends; whatever else it says is passed over."""
        stdout = self._process.stdout
        assert stdout is not None
        while True:
            try:
                line = await stdout.readline()
            except ValueError:
                continue  # longer than an answer can be; the reader has dropped it
            if not line:
                return
            identity, _, word = line.strip().decode(errors="replace").partition(" ")
            waiting = self._owed.get(identity)
            if waiting:
                await self._answer(waiting.popleft(), refused=word == "refused")

    async def _answer(self, item: _Item, *, refused: bool) -> None:
        item.answered = True
        if refused:
            await item.delivery.refuse("the program refused it")
        else:
            await item.delivery.done()
        self._news.set()

    def _failed(self, what: str) -> SinkError:
        return SinkError("sink-failed", f"the program {what}", where=self._config.command[0])


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
