"""The power fails under load: what the disk had at that moment is all that there is afterwards."""

from __future__ import annotations

import signal
import time

from chaos import Load, Odoo, configured, seconds, verify
from engine_process import EngineProcess, free_ports, until
from mounts import mounted, sh, small_ext4


def test_power_cuts(tmp_path):
    """Each cut: the engine stands still, the disk is copied as it is, and the engine goes on with the copy alone."""
    port, odoo_port = free_ports(2)
    odoo = Odoo(tmp_path / "odoo", odoo_port).start()
    engine = EngineProcess(tmp_path, configured(port, odoo_port))
    load = Load(port, patients=12, connections=6)
    disk = small_ext4(tmp_path / "disk.0", 64)
    try:
        for cut in range(3):
            with mounted(engine.data, "-o", "loop", disk):
                engine.start()
                if not cut:
                    load.start()
                sent = load.count
                until(lambda sent=sent: load.count > sent + 20)
                time.sleep(seconds(0.2 * cut))
                engine.child.send_signal(signal.SIGSTOP)
                left = until(lambda disk=disk: still(disk))
                engine.kill()
                sh("umount", engine.data)
            disk.unlink()
            disk = tmp_path / f"disk.{cut + 1}"
            disk.write_bytes(left)
        with mounted(engine.data, "-o", "loop", disk):
            engine.start()
            sent = load.count
            until(lambda: load.count > sent + 20)
            load.stop()
            verify(engine, odoo, load)
            engine.terminate()
    finally:
        engine.kill()
        odoo.kill()


def still(disk):
    """What it has, when nothing of it changed while it was read."""
    found = disk.read_bytes()
    return found if found == disk.read_bytes() else None
