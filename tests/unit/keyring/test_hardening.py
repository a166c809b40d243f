from __future__ import annotations

import subprocess
import sys

import pytest

PROBE = """
import ctypes, os, resource, signal
from agencybus.keyring import harden_process
failed = harden_process()
print(failed, resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_hardened_process_makes_no_core_and_shows_no_memory() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "() (0, 0) 0"
