"""The story, scene by scene. Each scene does something real and prints what can be seen of it."""

from __future__ import annotations

import asyncio
import json
import random
import re
import select
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agencybus.demo import attacks
from agencybus.demo.stage import CBP, FBI, READERS, USMS, Stage
from agencybus.directory import policy
from agencybus.errors import BusError, Step
from agencybus.kafka import plain
from agencybus.label import Clearance, Label, dominates
from agencybus.wire import envelope
from agencybus.wire.headers import FrameHeader

FUGITIVES: Final = "us.fbi.fugitives.routine"
SHARED: Final = "UNCLASSIFIED//REL TO USA, MEX"
CLOSE_HELD: Final = "SECRET//LES//REL TO USA, MEX"
NATIONAL: Final = "SECRET//NOFORN"
BURST: Final = 5000  # events published while broker and daemon are killed
CHOICE_SECONDS: Final = 15  # for the viewer to choose a byte


class Story:
    """Tells it.

    Args:
        stage: where it happens.
        console: where it is told.
        flip: the byte to flip in the first attack; asked for if a person watches.
    """

    def __init__(self, stage: Stage, console: Console, *, flip: int | None) -> None:
        self.stage = stage
        self.console = console
        self.flip = flip
        self.began = time.monotonic()
        self.published: list[tuple[str, str, str, str, int]] = []  # what, publisher, type, label, count
        self.failures: list[str] = []

    def tell(self) -> bool:
        """Everything, in order; whether all went as promised."""
        for number, (title, scene) in enumerate(self._scenes(), 1):
            passed = time.monotonic() - self.began
            self.console.rule(f"[bold]{number}. {title}[/]  [dim]{passed:.0f} s[/]", align="left")
            scene()
        self._end()
        return not self.failures

    def _scenes(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "A real Kafka, and two countries", self._set_up
        yield "Producers publish, four local tools listen", self._produce
        yield "What the broker sees, and what a reader sees", self._look
        yield "Who got it, who did not, and which rule said so", self._who
        yield "Three attacks", self._attack
        yield "The same forgery on a plain topic", self._control
        yield "kill -9 of the broker and of a daemon", self._kill
        yield "An operator replays the topic", self._replay

    def say(self, text: str) -> None:
        """One paragraph."""
        self.console.print(text, highlight=False)

    def check(self, text: str, *, true: bool) -> None:
        """A promise, and whether it was kept."""
        if not true:
            self.failures.append(text)
        self.console.print(f"  {'[green]✓[/]' if true else '[red]✗ NOT SO:[/]'} {text}", highlight=False)

    # --- scenes

    def _set_up(self) -> None:
        with self.console.status("starting Apache Kafka, making keys, signing the directory …"):
            began = time.monotonic()
            self.stage.set_up()
            for endpoint in READERS:
                self.stage.start_daemon(endpoint)
        directory = self.stage.directory()
        self.say(
            f"Apache Kafka 4.3.1 at {self.stage.cluster.bootstrap}: mutual TLS, deny by default. "
            f"Made in {time.monotonic() - began:.0f} s with nothing but pip."
        )
        self.say(
            f"A directory signed by both countries (three TUF repositories, ML-DSA-87 and P-384): "
            f"{len(directory.current.agencies)} agencies, {len(directory.current.endpoints)} endpoints, "
            f"{len(directory.current.programmes)} agreements."
        )

    def _produce(self) -> None:
        with resources.as_file(resources.files("agencybus_producers.fbi").joinpath("samples", "wanted.json")) as page:
            said = self._publisher(FBI, "fbi", str(page), "--yes")
        self._note("wanted persons (FBI)", FBI, "alert", SHARED, _count(said))
        file = self._events("national.jsonl", [attacks.alert(FBI, "NATIONAL-1", label=NATIONAL)])
        self._publisher(FBI, "publish", "--type", "alert", str(file))
        self._note("a national alert (FBI)", FBI, "alert", NATIONAL, 1)
        forms = resources.files("agencybus_producers.forms").joinpath("samples")
        with resources.as_file(forms.joinpath("sighting.json")) as form:
            self._publisher(USMS, "sighting", str(form), "--label", CLOSE_HELD)
        self._note("a sighting (Marshals)", USMS, "fugitive_sighting", CLOSE_HELD, 1)
        with resources.as_file(forms.joinpath("hold-set.json")) as form:
            self._publisher(CBP, "hold", str(form), "--label", CLOSE_HELD)
        self._note("a cargo hold (CBP)", CBP, "cargo_hold", CLOSE_HELD, 1)
        for what, publisher, kind, label, count in self.published:
            self.say(f"  {count} x {what}: {kind} from {publisher}, [cyan]{label}[/]")
        self.stage.wait(lambda: len(self.stage.received("us.fbi/case-files")) >= self._expected("us.fbi/case-files"),
                        "the tools to receive")  # fmt: skip

    def _look(self) -> None:
        record = self._newest_frame()
        raw = record.value or b""
        header = envelope.split(raw, envelope.CHANNEL_KINDS).header
        assert isinstance(header, FrameHeader)
        seen = Table.grid(padding=(0, 2))
        for name in ("endpoint", "channel", "sequence", "type", "label", "programme", "count"):
            seen.add_row(f"[dim]{name}[/]", Text(str(getattr(header, name))))
        line = next(line for line in self.stage.received("us.fbi/case-files") if line["type"] == "alert")
        event = line["event"]
        read = Table.grid(padding=(0, 2))
        for name in ("headline", "reference", "label", "reported_at"):
            read.add_row(f"[dim]{name}[/]", Text(str(event.get(name, ""))[:70]))
        self.console.print(
            Panel(Text(_hex(raw, 6)), title=f"the broker: {len(raw):,} bytes at {record.topic}@{record.offset}"),
            Panel(seen, title="what it can know of them (header, signed)"),
            Panel(read, title="what a cleared reader has"),
        )
        names = [str(one["event"].get("headline", ""))[:24] for one in self.stage.received("us.fbi/case-files")]
        files = [path for path in (self.stage.home / "kafka").rglob("*.log") if path.parent.name.startswith("us.")]
        bodies = b"".join(path.read_bytes() for path in files)
        found = [name for name in names if name and name.encode() in bodies]
        self.check(f"none of {len(names)} headlines is in the broker's {len(bodies):,} bytes on disk", true=not found)

    def _who(self) -> None:
        directory, now = self.stage.directory().current, time.time_ns() // 1000
        table = Table(show_lines=True)
        table.add_column("published", overflow="fold")
        for endpoint, ceiling in READERS.items():
            table.add_column(f"{endpoint}\n[dim]{ceiling}[/]", overflow="fold")
        got = {
            endpoint: Counter((line["sealed"]["by"], line["type"], line["label"]) for line in lines)
            for endpoint, lines in ((name, self.stage.received(name)) for name in READERS)
        }
        wrong = []
        for what, publisher, kind, text, count in self.published:
            label, row = Label.parse(text), []
            programme = "cargo-targeting" if kind == "cargo_hold" else "fugitives"
            for endpoint, ceiling in READERS.items():
                ruling = policy.may_read(directory, endpoint, publisher, kind, label, programme, now)
                tool = dominates(Clearance.parse(ceiling), label, directory.equivalence)
                have = got[endpoint][publisher, kind, text]
                if have != (count if ruling.allowed and tool else 0):
                    wrong.append(f"{endpoint}: {what}")
                why = f"{ruling.rule}: {ruling.text}" if not ruling.allowed else f"tool: {tool.text}"
                row.append(f"[green]{have} of {count}[/]" if have else f"[red]no[/] [dim]{why}[/]")
            table.add_row(f"{what}\n[cyan]{text}[/]", *row)
        self.console.print(table)
        self.check("each tool has exactly what the rules of both countries give it", true=not wrong)

    def _attack(self) -> None:
        admin, reader = self.stage.cluster.settings(), "mx.fgr/watch-floor"
        record = self._newest_frame()
        raw = bytearray(record.value or b"")
        at = self._choose(len(raw))
        raw[at] ^= 1
        attacks.write(admin, FUGITIVES, bytes(raw))
        self._caught(
            1, f"byte {at} of {len(raw):,} of a real record flipped, written to the topic by the broker's operator"
        )
        attacks.write(admin, FUGITIVES, record.value or b"")
        attacks.write(admin, "us.fbi.fugitives.urgent", record.value or b"")
        self._caught(
            2,
            "a real record replayed: in its own topic it is dropped as a duplicate, in the urgent topic:",
            (2, "channel-mismatch"),
        )
        insider = "us.fbi/case-files"
        forged = attacks.without_the_right(
            self.stage.sandbox.folder(insider), insider, FUGITIVES, self.stage.directory().current
        )
        attacks.write(self.stage.cluster.settings(insider), FUGITIVES, forged)
        self._caught(
            3, f"an alert by {insider}: real keys, two good signatures, no right to publish", (6, "right-missing")
        )
        before = Counter(line["event"]["reference"] for line in self.stage.received(reader))
        self.check("no tool saw any of it, none saw anything twice", true=max(before.values(), default=0) == 1)

    def _control(self) -> None:
        topic, settings = "control.plain", self.stage.cluster.settings()
        event = {"type": "alert", "headline": "Wanted: JOHN EXAMPLE", "label": "UNCLASSIFIED"}
        real = json.dumps(event).encode()
        at = real.index(b"JOHN")
        forged = real[:at] + bytes([real[at] ^ 0x04]) + real[at + 1 :]

        async def work() -> list[bytes]:
            await plain.create(settings, topic)
            await plain.send(settings, topic, [real, forged])
            return await plain.receive(settings, topic, 2)

        taken = [json.loads(value) for value in asyncio.run(work())]
        for value in taken:
            self.say(f"  plain consumer: {value['headline']}")
        both = {value["headline"] for value in taken}
        self.check("the plain consumer takes both, and can't tell which one is real", true=len(both) == len(taken))
        self.say(
            "  [dim]TLS, ACLs and Kafka's CRC were in place. No switch of ours was turned off: it is another client.[/]"
        )

    def _kill(self) -> None:
        reader = "mx.fgr/watch-floor"
        file = self._events("burst.jsonl", [attacks.alert(FBI, f"BURST-{n:05}") for n in range(BURST)])
        log = self.stage.home / "burst.out"
        words = ("publish", "--config", str(self.stage.sandbox.publisher(FBI)), "--type", "alert", str(file), "--json")
        publishing = self.stage.start(*words, output=log)
        self.stage.wait(lambda: self._burst(reader) > 0, "the burst to begin")
        with self.console.status("killing …"):
            before = self._burst(reader)
            self.stage.kill_daemon(reader)
            self.stage.cluster.kill(1)
            time.sleep(0.5)
            self.stage.cluster.restart(1)
            self.stage.start_daemon(reader)
            publishing.wait(90)
        said = _last_json(log)
        accepted = _count(said)
        self.stage.wait(lambda: self._burst(reader) >= accepted, "the burst to arrive")
        lines = Counter(line["event"]["reference"] for line in self.stage.received(reader))
        burst = {name: times for name, times in lines.items() if name.startswith("BURST-")}
        self.say(
            f"  {BURST:,} events, killed when {before:,} had arrived: the broker, and the daemon of {reader}. "
            f"{accepted:,} acknowledged, {len(burst):,} in the tool's file."
        )
        self.check(
            "acknowledged = delivered, each exactly once",
            true=len(burst) == accepted == BURST and set(burst.values()) == {1},
        )

    def _replay(self) -> None:
        reader = "mx.inm/fronteras"
        config = ("--config", str(self.stage.sandbox.subscriber(reader)))
        said = self.stage.run("replay", FUGITIVES, *config, "--from", "earliest", "--to", "now")
        rules = ", ".join(f"{rule} {count}" for rule, count in said["not_in_audience_by_rule"].items())
        codes = ", ".join(f"step {one['step']} {one['code']} {one['records']}" for one in said["refused_by_step"])
        self.say(
            f"  [bold]agencybus replay[/] as {reader}: {said['records']} records. {said['frames']} frames with "
            f"{said['events']:,} events read, {said['checkpoints']} checkpoints, {said['duplicates']} duplicates,\n"
            f"  {said['not_in_audience']} not for it ({rules}), {said['refused']} refused ({codes})."
        )
        parts = (
            "frames",
            "checkpoints",
            "duplicates",
            "not_in_audience",
            "grant_missing",
            "refused",
            "damaged_batches",
        )
        counted = sum(said[part] for part in parts)
        self.check("every record is in one of these counts, none is left out", true=counted == said["records"])
        secret = self._newest_frame(NATIONAL)
        seen = self.stage.run("inspect", f"{FUGITIVES}/0@{secret.offset}", *config)
        steps = ", ".join(f"{one['step']} {one['name']}" for one in seen["steps"] if one["verdict"] == "passed")
        self.say(f"  [bold]agencybus inspect[/] of {secret.topic}/0@{secret.offset}, {NATIONAL}, by the same: {steps}.")
        self.check("who is not cleared still verifies who said it, where and when", true=bool(seen["verified"]))

    def _end(self) -> None:
        self.console.rule("[bold]What is not protected[/]", align="left")
        self.say(
            "Brokers see label, type, programme, endpoint, volume and timing of everything. A stolen reader key opens\n"
            "what was granted to it within its 35 days. What a reader has read can't be taken back. The module is not\n"
            "FIPS-validated. The equivalence of labels, the rights and the agreements are examples. The posters are\n"
            "of June 2021 and long out of date. docs/threat-model.md has the rest."
        )
        self.console.rule("[bold]To look further[/]", align="left")
        self.say(
            "  agencybus demo --keep DIR            the same, and leave the files in DIR\n"
            "  agencybus dev up                     a broker and this federation, to try things with\n"
            "  agencybus help grant-missing         what an error code means and what to do\n"
            "  agencybus quarantine list --help     what becomes of records that fail a check"
        )
        passed = time.monotonic() - self.began
        verdict = "[green]all promises kept[/]" if not self.failures else f"[red]{len(self.failures)} not kept[/]"
        self.console.rule(f"[bold]{verdict} in {passed:.0f} s[/]", align="left")

    # --- parts

    def _publisher(self, endpoint: str, command: str, *words: str) -> dict[str, Any]:
        return self.stage.run(command, *words, "--config", str(self.stage.sandbox.publisher(endpoint)))

    def _note(self, what: str, publisher: str, kind: str, label: str, count: int) -> None:
        self.published.append((what, publisher, kind, label, count))

    def _expected(self, endpoint: str) -> int:
        directory, now = self.stage.directory().current, time.time_ns() // 1000
        total = 0
        for _, publisher, kind, label, count in self.published:
            programme = "cargo-targeting" if kind == "cargo_hold" else "fugitives"
            ruling = policy.may_read(directory, endpoint, publisher, kind, Label.parse(label), programme, now)
            total += count if ruling.allowed else 0
        return total

    def _events(self, name: str, events: list[Any]) -> Path:
        path = self.stage.home / name
        path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
        return path

    def _newest_frame(self, label: str = SHARED) -> Any:
        for record in reversed(attacks.read(self.stage.cluster.settings(), FUGITIVES)):
            try:
                header = envelope.split(record.value or b"", envelope.CHANNEL_KINDS).header
            except BusError:
                continue
            if isinstance(header, FrameHeader) and header.label == label and header.endpoint == FBI:
                return record
        raise AssertionError("nothing was published")

    def _choose(self, size: int) -> int:
        """The byte to flip: given, chosen by a person who watches, or by chance."""
        if self.flip is not None:
            return self.flip % size
        if sys.stdin.isatty():
            self.console.print(
                f"  Which byte shall be flipped, 0 to {size - 1}? [dim]({CHOICE_SECONDS} s, or chance)[/] ", end=""
            )
            if select.select([sys.stdin], [], [], CHOICE_SECONDS)[0]:
                answer = sys.stdin.readline().strip()
                if re.fullmatch(r"\d+", answer):
                    return int(answer) % size
            self.console.print()
        return random.SystemRandom().randrange(size)

    def _caught(self, number: int, what: str, expected: tuple[int, str] | None = None) -> None:
        """Wait until a daemon's quarantine has one record more, and show it."""
        reader = "mx.fgr/watch-floor"
        self.say(f"  [bold]{number}.[/] {what}")
        self.stage.wait(lambda: len(self.stage.quarantined(reader)) >= number, f"the quarantine of attack {number}")
        step, code, reason = self.stage.quarantined(reader)[number - 1]
        as_expected = (step, code) == expected if expected else step <= Step.SIGNATURES
        self.check(f"in quarantine at step {step}: [yellow]{code}[/], {reason}", true=as_expected)

    def _burst(self, endpoint: str) -> int:
        return sum(line["event"]["reference"].startswith("BURST-") for line in self.stage.received(endpoint))


def _hex(raw: bytes, lines: int) -> str:
    shown = []
    for at in range(0, lines * 16, 16):
        part = raw[at : at + 16]
        text = "".join(chr(byte) if chr(byte).isascii() and chr(byte).isprintable() else "." for byte in part)
        shown.append(f"{at:06x}  {part.hex(' ', 2)}  {text}")
    return "\n".join([*shown, "…"])


def _count(said: dict[str, Any]) -> int:
    """How many events a command says were accepted."""
    for name in ("accepted", "new"):
        if isinstance(said.get(name), int):
            return int(said[name])
    raise AssertionError(f"no count in {said}")


def _last_json(path: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(path.read_text().strip().splitlines()[-1])
    return said
