"""What an inspection says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agencybus.cli import output, short

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from agencybus.audit.inspect import Inspection

WIDE: Final = 90  # columns that the table of steps needs to be readable
_COLOURS: Final = {"passed": "green", "refused": "bold red", "not decided": "yellow"}
_TIMES: Final = ("sealed_at", "previous_sealed_at", "epoch_start", "epoch_end")


def plain(found: Inspection, where: str) -> dict[str, Any]:
    """For programs."""
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(found)
    return {"record": where, "refused": found.refused is not None} | fields


def page(found: Inspection, where: str, *, wide: int) -> Group:
    """For people."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(f"{where}: {found.kind or 'no record'}, {found.size:,} bytes", "bold")]
    if found.header:
        claim = "the header, as its endpoint signed it" if found.verified else "the header CLAIMS (not verified)"
        parts += [Text(claim), _header(found.header), Text(f"digest {found.digest}", "dim"), ""]
    parts += _steps(found, wide=wide >= WIDE)
    if found.rulings:
        parts += ["", *_readers(found)]
    parts += ["", *(short.event(each) for each in found.events)]
    refused = found.refused
    if refused is None:
        parts.append(Text("no step refuses it", "green"))
    else:
        parts.append(Text(f"refused at step {refused.step}: {refused.code}", "bold red"))
    return Group(*parts)


def _header(header: dict[str, Any]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in header.items():
        match value:
            case list():
                lines = [f"{each['endpoint']} {each['kem_key_id'][:16]}…" for each in value]
            case int() if name in _TIMES:
                lines = [_time(value)]
            case _:
                lines = [str(value)]
        table.add_row(f"  {name}", Text("\n".join(output.printable(line) for line in lines)))
    return table


def _steps(found: Inspection, *, wide: bool) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    rows = []
    for line in found.steps:
        said = f"{line.code}: {line.text}" if line.code else line.text
        rows.append((f"{line.step:>2}", line.name, Text(line.verdict, _COLOURS.get(line.verdict, "dim")), said))
    if not wide:
        return [
            Text.assemble(f"{number} {name}: ", verdict, output.printable(f" ({said})" if said else ""))
            for number, name, verdict, said in rows
        ]
    table = Table("step", "checks", "says", "because")
    for number, name, verdict, said in rows:
        table.add_row(number, name, verdict, Text(output.printable(said)))
    return [table]


def _readers(found: Inspection) -> list[RenderableType]:
    from rich.text import Text

    yes = [each.endpoint for each in found.rulings if each.allowed]
    no = [f"{each.endpoint} ({each.rule})" for each in found.rulings if not each.allowed]
    return [Text(f"may read it: {', '.join(yes) or 'nobody'}"), Text(f"may not: {', '.join(no) or 'nobody'}")]


def _time(at: int) -> str:
    try:
        return f"{datetime.fromtimestamp(at / 1_000_000, UTC):%Y-%m-%d %H:%M:%S.%fZ}"
    except (ValueError, OverflowError, OSError):  # a claim may be any number
        return str(at)
