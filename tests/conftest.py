"""Puts this folder on the path, so that every test finds `engine_process`, and what tests write into memory.

A test kills processes, never the power: what a killed process had written is there in memory as on a disk. What
is about disks (tests/chaos/test_disk.py) mounts its own.
"""

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
ENOUGH = 4 << 30  # bytes

if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
