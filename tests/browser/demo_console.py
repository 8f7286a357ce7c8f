"""The demo with its console as a process, and one that breaks a message on purpose."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from engine_process import ROOT, Client, Process, children, free_ports, until

PASSWORD = "a long sentence to type"


def sign_in(page, name: str = "admin", password: str = PASSWORD) -> None:
    """Fill in the form of the sign-in, and send it."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


class Demo(Process):
    """`demo` on a copy of the shipped configuration whose table of sexes refuses unknown codes; with the messages that
    are broken on purpose or, as other tests make their own, without; `more` are channels beside the shipped ones."""

    def __init__(
        self, folder: Path, broken: bool = False, more: str = "", environ: dict[str, str] | None = None
    ) -> None:
        self.config, self.data = folder / "config", folder / "data"
        shutil.copytree(
            ROOT / "config", self.config, ignore=None if broken else shutil.ignore_patterns("broken")
        )
        self.channels = channels = self.config / "channels.yaml"
        channels.write_text(
            channels.read_text().replace("sex.yaml, otherwise: keep", "sex.yaml, otherwise: error") + more
        )
        table = self.config / "tables/sex.yaml"
        table.write_text(table.read_text().replace("W: F\n", "M: M\nF: F\n"))
        *ports, console = map(str, free_ports(4))  # the same after a restart
        arguments = ["-c", str(channels), "-d", str(self.data), "--console", f"127.0.0.1:{console}"]
        names = ("ADT_PORT", "SIU_PORT", "FHIR_PORT")
        named = dict(zip(names, ports, strict=True))
        super().__init__(["demo", *arguments], folder / "demo.log", named | (environ or {}))
        self.spawn()
        self.setup = self.told(r"(http://[^\s]+/setup\?token=\S+)")
        self.url = self.setup.partition("/setup")[0]
        self.port = int(self.told(r"adt listens on 127\.0\.0\.1:(\d+)"))

    def process(self, name: str) -> int:
        """The process id of the `engine` or the `console`, once it runs."""
        return until(lambda: children(self.child.pid, self.data).get(name))

    def told(self, pattern: str) -> str:
        """What it printed."""

        def look():
            self.check()
            return re.search(pattern, self.text)

        return until(look)[1]

    def send(self, control_id: str, mrn: str, sex: str = "F") -> None:
        """One patient over MLLP."""
        with Client(self.port) as client:
            answer = client.send(
                f"MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20260302080100||ADT^A28^ADT_A05|{control_id}|P|2.5.1\r"
                "EVN|A28|20260302080100\r"
                f"PID|1||{mrn}^^^RGH^MR||Lindqvist^Astrid||19900412|{sex}\r".encode()
            )
        assert b"MSA|AA" in answer

    def reload(self) -> None:
        """Take the edited configuration up."""
        verb = Process(
            ["channel", "reload", "-d", str(self.data)], self.log.with_name("reload.log"), self.environ
        )
        verb.spawn()
        assert verb.wait() == 0, verb.text
