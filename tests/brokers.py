"""Clusters for tests. In closed networks AGENCYBUS_JARS and AGENCYBUS_JAVA say where Kafka's jars and a Java are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from agencybus.kafka.local import LocalCluster

HEAP_MIB = 256  # enough for tests, and for a machine that runs several of them


def local_cluster(home: Path, **options: Any) -> LocalCluster:
    """A cluster that is not started yet."""
    jars, java = os.environ.get("AGENCYBUS_JARS"), os.environ.get("AGENCYBUS_JAVA")
    found = {"jar_folder": Path(jars) if jars else None, "java": Path(java) if java else None}
    return LocalCluster(home, **({"heap_mib": HEAP_MIB} | found | options))
