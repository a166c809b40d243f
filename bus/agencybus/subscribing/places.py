"""Which topics an endpoint reads: what the directory gives, or what the configuration names."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from agencybus.directory.model import Directory
from agencybus.errors import ConfigError

LANES = ("urgent", "routine")


def readable_channels(directory: Directory, endpoint: str) -> list[str]:
    """Channels of the programmes that the endpoint reads, of every party with an endpoint that publishes there."""
    reader = directory.endpoints.get(endpoint)
    if reader is None:
        return []
    writers = {
        (writer.agency, programme)
        for writer in directory.endpoints.values()
        for programme in writer.publishes
        if programme in reader.reads
    }
    return sorted(
        f"{agency}.{programme}.{lane}"
        for agency, programme in writers
        if programme in directory.programmes and agency in directory.programmes[programme].parties
        for lane in LANES
    )


def places(
    directory: Directory, endpoint: str, channels: Iterable[str], programmes: Collection[str] = ()
) -> dict[str, list[tuple[str, int]]]:
    """Topic and partition of everything to read, by lane.

    Args:
        directory: the newest one.
        endpoint: the reader.
        channels: named by the configuration; empty for all that the directory gives.
        programmes: of those, only channels of these; empty for all.

    Raises:
        ConfigError: a named channel is no channel, or a named programme no programme.
    """
    if unknown := sorted(set(programmes) - set(directory.programmes)):
        raise ConfigError("config-invalid", f"the directory has no programme {unknown[0]!r}", where="programmes")
    found: dict[str, list[tuple[str, int]]] = {lane: [] for lane in LANES}
    for channel in channels or readable_channels(directory, endpoint):
        head, _, lane = channel.rpartition(".")
        programme = directory.programmes.get(head.rpartition(".")[2])
        if lane not in found or programme is None:
            raise ConfigError("config-invalid", f"{channel!r} is no channel of this directory", where="channels")
        if programmes and programme.name not in programmes:
            continue
        found[lane] += [(channel, partition) for partition in range(programme.partitions)]
    return found


def granting_agencies(lanes: dict[str, list[tuple[str, int]]]) -> set[str]:
    """Agencies whose grants concern the reader of these places."""
    return {topic.rsplit(".", 2)[0] for found in lanes.values() for topic, _ in found}
