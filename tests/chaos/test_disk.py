"""The disk is full, or cannot be written: no AA for what is not stored, a clear word to people, and on by itself."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import pytest
from chaos import Load, Odoo, configured, seconds, verify
from engine_process import ROOT, EngineProcess, adt, free_ports, until
from mounts import fill, mounted, resize, sh, small_ext4, tmpfs

from engine.store.sqlite import FolderLock

BIG = "".join(
    f"OBX|{n}|ED|X||^{'%0512x' % (3**1200 * n % 16**512)}\r" for n in range(40)
)  # 20 KB, little to press


def status(engine: EngineProcess) -> tuple[int, str]:
    """What `status` says to people, and its exit code."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_engine.py"), "status", "--data", str(engine.data)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def still(load: Load, for_seconds: float) -> None:
    """Nobody gets an AA any more."""
    until(lambda: (before := load.count, time.sleep(0.6), before == load.count)[2])
    before = load.count
    time.sleep(for_seconds)
    assert load.count == before


@pytest.mark.parametrize("how", ["by load", "at once"])
def test_full(tmp_path, how):
    port, odoo_port = free_ports(2)
    odoo = Odoo(tmp_path / "odoo", odoo_port).start()
    engine = EngineProcess(tmp_path, configured(port, odoo_port))
    with tmpfs(engine.data, "8m" if how == "by load" else "32m"):  # the log alone may take 16
        try:
            engine.start()
            load = Load(port, patients=6, pace=0.002, more=BIG if how == "by load" else "").start()
            if how == "at once":
                time.sleep(0.4)
                ballast = fill(engine.data)
            still(load, seconds(0.5))
            if how == "by load":
                until(lambda: status(engine)[0] == 1, every=0.3)
                told = status(engine)[1]
                assert "the disk is almost full" in told or "the store cannot be written" in told, told
            assert [line for line in engine.text.splitlines() if "store.full" in line or "disk" in line]
            if how == "at once":
                ballast.unlink()
            else:
                resize(engine.data, "size=64m")
            sent = load.count
            until(lambda: load.count > sent + 20)
            load.stop()
            verify(engine, odoo, load)
            assert {answer.split()[0] for answer in load.answers} <= {"AA", "AR"}
            if how == "by load":
                until(lambda: status(engine)[0] == 0, every=0.3)
        finally:
            engine.kill()
            odoo.kill()


def test_full_at_start(tmp_path):
    engine = EngineProcess(tmp_path, configured(*free_ports(2)))
    with tmpfs(engine.data, "256k"):
        fill(engine.data)
        engine.spawn()
        assert engine.wait() == 2
        assert "[store.full]" in engine.text or "full" in engine.text
        assert "Traceback" not in engine.text


def test_read_only_at_start(tmp_path):
    port, odoo_port = free_ports(2)
    engine = EngineProcess(tmp_path, configured(port, odoo_port))
    with tmpfs(engine.data, "8m"):
        engine.start().send(adt("R1"))
        engine.terminate()
        resize(engine.data, "ro")
        engine.spawn()
        assert engine.wait() == 2
        assert "cannot be written" in engine.text, engine.text
        assert "Traceback" not in engine.text
        resize(engine.data, "rw")
        try:
            engine.start().send(adt("R2"))
            assert [one.control_id for one in engine.stored()] == ["R1", "R2"]
        finally:
            engine.kill()


def breaker(folder):
    """What makes the ext4 there fail, as when its disk does."""
    device = sh("findmnt", "-n", "-o", "SOURCE", folder).strip().rpartition("/")[2]
    return Path(f"/sys/fs/ext4/{device}/trigger_fs_error")


def repaired(image):
    subprocess.run(["e2fsck", "-fy", str(image)], capture_output=True, check=False)


def test_what_is_lost_is_never_called_durable(tmp_path):
    """Again and again, as it takes luck: the disk fails between two steps of a commit."""
    image, block = tmp_path / "disk.img", 4096
    for _ in range(12):
        small_ext4(image)
        kept = 0
        with mounted(tmp_path / "data", "-o", "loop,errors=remount-ro", image) as folder:
            lock = FolderLock(folder)
            with (folder / "log").open("wb", buffering=0) as file, breaker(folder).open("w") as trigger:
                os.fsync(file.fileno())
                fails = Timer(0.03 + random.random() / 20, lambda to=trigger: (to.write("x"), to.flush()))
                fails.start()
                try:
                    while kept < 5000:
                        file.write(kept.to_bytes(4, "big") * (block // 4))
                        os.fdatasync(file.fileno())
                        if lock.witness() is not None:
                            break
                        kept += 1
                except OSError:
                    pass
                fails.join()
            lock.release()
            sh("umount", folder)
        repaired(image)
        with mounted(tmp_path / "data", "-o", "loop", image) as folder:
            found = (folder / "log").read_bytes()
        for number in range(kept):
            assert found[number * block :][:4] == number.to_bytes(4, "big"), f"{number} of {kept} is lost"


def test_becomes_read_only(tmp_path):
    """What ext4 does when the disk fails: read-only from one moment to the next."""
    image = tmp_path / "disk.img"
    small_ext4(image)
    port, odoo_port = free_ports(2)
    odoo = Odoo(tmp_path / "odoo", odoo_port).start()
    engine = EngineProcess(tmp_path, configured(port, odoo_port))
    try:
        with mounted(engine.data, "-o", "loop,errors=remount-ro", image) as folder:
            trigger = breaker(folder)
            engine.start()
            load = Load(port, patients=6, pace=0.005).start()
            time.sleep(0.5)
            sh("sh", "-c", f"echo broken > {trigger}")
            still(load, seconds(0.5))
            assert any(answer.startswith("AR store.") for answer in load.answers), load.answers
            assert "store.failed" in engine.text
            assert "Traceback" not in engine.text
            engine.kill()
            sh("umount", folder)
        repaired(image)
        with mounted(engine.data, "-o", "loop", image):
            engine.start()
            load.stop()
            verify(engine, odoo, load)
            engine.terminate()
    finally:
        engine.kill()
        odoo.kill()
