"""Destination connectors of Mirth as destinations, with queue and retry settings."""

from __future__ import annotations

from typing import Any

from engine.mirth.findings import Findings
from engine.mirth.settings import Settings
from engine.mirth.sources import frames, kind
from engine.mirth.syntax import Unreadable
from engine.mirth.variables import Variables
from engine.mirth.xmltree import Node

WRITER = "VmDispatcherProperties"
_ODOO = "when the records end in Odoo: an `odoo` destination with a template"
_HINTS = {
    "FileDispatcherProperties": "every message is kept: `isthmus messages export` writes files",
    "HttpDispatcherProperties": _ODOO,
    "VmDispatcherProperties": "give the destinations of that channel to this one",
    "DatabaseDispatcherProperties": _ODOO,
    "JavaScriptDispatcherProperties": "what it computes can be a `python` step, what it sends a destination",
    "SmtpDispatcherProperties": "let Odoo send the e-mail, or an alert of the system that watches the engine",
    "DICOMDispatcherProperties": "DICOM is not HL7: keep it where it is",
    "WebServiceDispatcherProperties": _ODOO,
    "DocumentDispatcherProperties": "let Odoo print the document",
    "JmsDispatcherProperties": "let the receiver use MLLP",
}
_CODE = ("script", "query")


class Destination:
    """One destination connector."""

    def __init__(self, node: Node, variables: Variables, findings: Findings) -> None:
        properties = node.child("properties")
        self.node = node
        self.number = node.value("metaDataId")
        self.name = node.value("name") or f"destination {self.number}"
        self.settings = Settings(properties, variables, findings)
        self.findings = findings
        self.variables = variables
        self.line = properties.line if properties else node.line
        self.type = kind(properties)
        self.transport = node.value("transportName") or self.type

    @property
    def label(self) -> str:
        """How findings name it."""
        return f'destination "{self.name}" ({self.transport})'

    @property
    def writes_to(self) -> str:
        """The id of the channel that it hands the message to as it is; empty when it does something else."""
        whole = self.settings.text("channelTemplate", "${message.encodedData}") == "${message.encodedData}"
        return self.settings.text("channelId") if self.type == WRITER and whole else ""

    @property
    def is_sink(self) -> bool:
        """Whether it hands the message to no channel: Mirth's way to have a destination that does nothing."""
        return self.type == WRITER and self.settings.text("channelId", "none") in ("none", "")

    def made(self) -> dict[str, Any] | None:
        """The component and its options as YAML; None when there is none, which is told then."""
        label = self.label
        try:
            if self.type != "TcpDispatcherProperties":
                raise Unreadable(
                    0, f"there is no destination for a {self.transport}", _HINTS.get(self.type, "")
                )
            found = {"mllp": self._tcp()}
        except Unreadable as error:
            code = "\n".join(filter(None, (self.settings.text(name) for name in _CODE)))
            self.findings.add("not converted", "connector", self.line, label, error.what, error.hint, code)
            return None
        for plugin in self.settings.node.inside("pluginProperties"):
            what = f"{label}: {plugin.tag.rpartition('.')[2]}"
            self.findings.add(
                "not converted",
                "connector",
                plugin.line,
                what,
                "a plugin of the connector",
                "TLS is `tls:` of `mllp`",
            )
        options = self._queue(label)
        self.settings.rest(label)
        self.findings.add("converted", "connector", self.line, label)
        return found | options

    def _tcp(self) -> dict[str, Any]:
        settings = self.settings
        frames(settings)
        if settings.flag("serverMode"):
            raise Unreadable(
                0, "it waits for the receiver to connect (server mode)", "let it connect to the receiver"
            )
        template = settings.text("template", "${message.encodedData}")
        if template == "${message.rawData}":
            settings.note("template", "the raw message is sent", "here what the steps made of it is sent")
        elif template != "${message.encodedData}":
            raise Unreadable(0, "its template makes a text of its own", "write the text in a `jinja` step")
        made: dict[str, Any] = {"host": settings.known("remoteAddress"), "port": settings.port("remotePort")}
        timeout = settings.seconds("responseTimeout", 5000)
        if timeout:
            made["timeout"] = timeout
        settings.skip("overrideLocalBinding", "localAddress", "localPort", "sendTimeout", "bufferSize")
        settings.skip("keepConnectionOpen", "checkRemoteHost", "maxConnections", "queueOnResponseTimeout")
        settings.told(
            "TCP Sender",
            {
                "ignoreResponse": (("false",), "a message counts as sent here when it is acknowledged"),
                "dataTypeBinary": (("false",), "messages are HL7 text"),
                "charsetEncoding": (
                    ("DEFAULT_ENCODING",),
                    "a message goes out in the character set it came in",
                ),
            },
        )
        return made

    def _queue(self, label: str) -> dict[str, Any]:
        """Queue and retries: a queue of Mirth tries for ever, without one the retries are counted."""
        self.settings.skip("destinationConnectorProperties")
        found = Settings(
            self.settings.node.child("destinationConnectorProperties"), self.variables, self.findings
        )
        wait = max(found.seconds("retryIntervalMillis", 10000), 0.1)
        retry: dict[str, Any] = {"initial": wait, "factor": 1, "max": wait}
        queued = found.flag("queueEnabled")
        if not queued:
            retry["attempts"] = found.number("retryCount", 0) + 1
        found.skip("sendFirst", "regenerateTemplate", "includeFilterTransformer", "retryCount", "resourceIds")
        found.skip("queueBufferSize", "reattachAttachments", "rotate")
        if found.number("threadCount", 1) > 1:
            found.note(
                "threadCount",
                f"{label}: several queue threads",
                "messages of one patient stay in order, others pass each other",
                "`ordering_key` names another value than PID-3.1, `in_flight` sends ahead",
            )
        found.skip("threadAssignmentVariable")
        if not found.flag("validateResponse"):
            found.note(
                "validateResponse",
                f"{label}: the response is not validated",
                "AE and AR are errors here, where Mirth took every answer for good",
            )
        found.rest(label)
        return {"on_error": "skip", "retry": retry}
