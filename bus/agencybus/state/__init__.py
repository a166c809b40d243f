"""What must survive: one folder for a writer, one for each reader; SQLite, one transaction a step."""

from agencybus.state.reader import ReaderState, Start
from agencybus.state.writer import InFlight, LineageRow, Reference, WriterState

__all__ = ["InFlight", "LineageRow", "ReaderState", "Reference", "Start", "WriterState"]
