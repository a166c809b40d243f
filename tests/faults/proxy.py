"""A bad network between clients and a broker: bytes that come late, in drops, one way only, or not at all."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Self

HOST = "127.0.0.1"
CHUNK = 64 * 1024


class Proxy:
    """Passes TCP connections on, and does to them what its attributes say at the moment.

    Attributes:
        delay: seconds that everything is late, each way. Order stays; the rate does not suffer.
        piece: bytes passed on at a time; 1 shows every parser each byte alone.
        deaf: nothing goes from clients to the broker; it is kept, and passed on when the network heals.
        mute: nothing goes from the broker to clients.
        refuse: new connections are reset at once.
        connections: how many clients have come.
        cuts: how many connections `cut_after` has reset.
    """

    def __init__(self, front: int, target: int) -> None:
        self.delay = 0.0
        self.piece = CHUNK
        self.refuse = False
        self.connections = self.cuts = 0
        self._cut_in: int | None = None  # bytes to go
        self._front, self._target = front, target
        self._open = {"to broker": asyncio.Event(), "to client": asyncio.Event()}
        self._pairs: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.deaf = self.mute = False

    @property
    def deaf(self) -> bool:
        return not self._open["to broker"].is_set()

    @deaf.setter
    def deaf(self, yes: bool) -> None:
        self._switch("to broker", hold=yes)

    @property
    def mute(self) -> bool:
        return not self._open["to client"].is_set()

    @mute.setter
    def mute(self, yes: bool) -> None:
        self._switch("to client", hold=yes)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, self._front)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Reset every connection now."""
        pairs = tuple(self._pairs)
        for pair in pairs:
            pair.cancel()
        await asyncio.gather(*pairs, return_exceptions=True)

    def cut_after(self, count: int) -> None:
        """Let so many more bytes through to clients, then reset the connection that the last of them came over."""
        self._cut_in = count

    def _up_to_the_cut(self, part: bytes) -> tuple[bytes, bool]:
        if self._cut_in is None or len(part) < self._cut_in:
            self._cut_in = None if self._cut_in is None else self._cut_in - len(part)
            return part, False
        part, self._cut_in = part[: self._cut_in], None
        self.cuts += 1
        return part, True

    def _switch(self, way: str, *, hold: bool) -> None:
        (self._open[way].clear if hold else self._open[way].set)()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuse:
            _reset(writer)
            return
        pair = asyncio.current_task()
        assert pair is not None
        self._pairs.add(pair)
        ends = [writer]
        try:
            from_broker, to_broker = await asyncio.open_connection(HOST, self._target)
            ends.append(to_broker)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, to_broker, "to broker"))
                both.create_task(self._pump(from_broker, writer, "to client"))
        except* (OSError, EOFError, asyncio.CancelledError):
            pass  # one end hung up, or was cut: so does the other
        finally:
            self._pairs.discard(pair)
            for end in ends:
                _reset(end)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: str) -> None:
        """Read on while older bytes are still on their way: a delay must not become a rate."""
        loop = asyncio.get_running_loop()
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)

        async def deliver() -> None:
            while True:
                due, data = await late.get()
                await asyncio.sleep(due - loop.time())
                await self._open[way].wait()
                for start in range(0, len(data), self.piece):
                    part = data[start : start + self.piece]
                    part, cut = self._up_to_the_cut(part) if way == "to client" else (part, False)
                    sink.write(part)
                    await sink.drain()
                    if cut:
                        raise ConnectionResetError

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(deliver())
            while data := await source.read(CHUNK):
                await late.put((loop.time() + self.delay, data))
            raise EOFError


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a firewall or a dead machine does, not with a polite FIN."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
