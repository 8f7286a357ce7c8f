"""Source connectors of Mirth as listeners, with what they say of acknowledgements and character sets.

A connector that has no listener here is told, with the code that it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.mirth.findings import Findings
from engine.mirth.settings import Settings
from engine.mirth.syntax import Unreadable
from engine.mirth.variables import Variables
from engine.mirth.xmltree import Node
from engine.spec.component import registry

_ACKS = {
    "Auto-generate (Before processing)": "stored",
    "Auto-generate (After source transformer)": "routed",
    "Auto-generate (Destinations completed)": "delivered",
}
READER = "VmReceiverProperties"
_POLLING = "poll with a job of the system that writes files, and read those with a `file` listener"
_HINTS = {
    "VmReceiverProperties": "give the destinations of this channel to the channel that writes to it",
    "DatabaseReceiverProperties": _POLLING,
    "JavaScriptReceiverProperties": _POLLING,
    "FileReceiverProperties": "",
    "HttpReceiverProperties": "",
    "JmsReceiverProperties": "let the sender use MLLP or HTTP",
    "DICOMReceiverProperties": "DICOM is not HL7: keep it where it is",
    "WebServiceReceiverProperties": "let the sender use MLLP or HTTP",
}
_SAME = ((), "it has no equal here")
Result = dict[str, Any]


class Source:
    """The source connector of one channel."""

    def __init__(self, node: Node, variables: Variables, findings: Findings) -> None:
        properties = node.child("properties")
        self.settings = Settings(properties, variables, findings)
        self.findings = findings
        self.variables = variables
        self.line = properties.line if properties else node.line
        self.type = kind(properties)
        self.name = node.value("transportName") or self.type
        self.options: dict[str, Any] = {}

    def listener(self, written_to: bool = False) -> Result | None:
        """The listener as YAML; None when there is none, which is told unless other channels write to this one."""
        self._answers()
        convert = _LISTENERS.get(self.type)
        label = f"source {self.name}"
        if self.type == READER and written_to:
            why = "its destinations stand in the channels that write to it"
            self.findings.add("adapted", "connector", self.line, label, why)
            return None
        try:
            if convert is None or registry.get("listener", convert[0]) is None:
                raise Unreadable(0, f"there is no listener for a {self.name}", _HINTS.get(self.type, ""))
            made = {convert[0]: convert[1](self)}
        except Unreadable as error:
            code = self.settings.text("script") or self.settings.text("select")
            self.findings.add("not converted", "connector", self.line, label, error.what, error.hint, code)
            return None
        self._plugins()
        self.settings.rest(label)
        self.findings.add("converted", "connector", self.line, label)
        return made

    def _plugins(self) -> None:
        for plugin in self.settings.node.inside("pluginProperties"):
            if not plugin.tag.endswith("NoneHttpAuthProperties"):
                what = f"source {self.name}: {plugin.tag.rpartition('.')[2]}"
                self.findings.add(
                    "not converted", "connector", plugin.line, what, "a plugin of the connector",
                    "TLS is `tls:` of the listener, a token `token:` of `http`",
                )  # fmt: skip

    def _answers(self) -> None:
        """The response settings: when the acknowledgement goes out."""
        found = Settings(self.settings.node.child("sourceConnectorProperties"), self.variables, self.findings)
        self.settings.skip("sourceConnectorProperties", "listenerConnectorProperties")
        response = found.text("responseVariable")
        queued = not found.flag("respondAfterProcessing", True)
        found.skip("firstResponse", "resourceIds", "queueBufferSize", "processBatch")
        if queued or response in _ACKS:
            self.options["ack"] = "stored" if queued else _ACKS[response]
        elif response and self.type == "TcpReceiverProperties":
            if response == "None":
                found.note(
                    "responseVariable", "no response is sent", "every message over MLLP is acknowledged here"
                )
            else:
                self.options["ack"] = "delivered"
                self.findings.add(
                    "not converted", "connector", found.line_of("responseVariable"), f"response from {response[:40]}",
                    "the answer is made by a destination or script", "the ACK tells here whether it was delivered",
                )  # fmt: skip
        if found.number("processingThreads", 1) > 1:
            found.note(
                "processingThreads",
                "several processing threads",
                "messages of one patient stay in order, all others pass each other (`lanes`)",
            )
        found.rest("source")

    def charset(self, name: str = "charsetEncoding") -> None:
        """The character set, as an option of the channel."""
        found = self.settings.text(name)
        if found and found != "DEFAULT_ENCODING":
            self.options["charset"] = found


def kind(properties: Node | None) -> str:
    """`TcpReceiverProperties` of a `properties` element."""
    return (properties.attributes.get("class", "") if properties else "").rpartition(".")[2]


def address(source: Source) -> Result:
    """Interface and port of a listener."""
    found = Settings(
        source.settings.node.child("listenerConnectorProperties"), source.variables, source.findings
    )
    made: Result = {"port": found.port("port")}
    host = found.known("host", "0.0.0.0")  # noqa: S104
    if host not in ("127.0.0.1", "localhost"):
        made["interface"] = host
    found.rest("listener")
    return made


def frames(settings: Settings) -> None:
    """Refuses what is not plain MLLP."""
    found = Settings(settings.node.child("transmissionModeProperties"), settings.variables, settings.findings)
    settings.skip("transmissionModeProperties")
    mode = found.text("pluginPointName", "MLLP")
    start, end = found.text("startOfMessageBytes", "0B"), found.text("endOfMessageBytes", "1C0D")
    if mode not in ("MLLP", "Basic") or (start.upper(), end.upper()) != ("0B", "1C0D"):
        raise Unreadable(
            0, f"the transmission mode {mode} with the frame bytes {start} and {end}", "use MLLP"
        )
    if found.flag("useMLLPv2"):
        raise Unreadable(0, "MLLP version 2 with its own commit bytes", "use MLLP version 1")


def _tcp(source: Source) -> Result:
    settings = source.settings
    frames(settings)
    if not settings.flag("serverMode", True):
        raise Unreadable(0, "it connects to the sender (client mode)", "let the sender connect")
    made = address(source)
    most = settings.number("maxConnections", 10)
    if most != 10:
        made["max_connections"] = max(1, most)
    idle = settings.seconds("receiveTimeout", 0)
    if idle:
        made["idle_timeout"] = idle
    source.charset()
    settings.skip("remoteAddress", "remotePort", "overrideLocalBinding", "reconnectInterval", "bufferSize")
    settings.skip("responseAddress", "responsePort")
    settings.told(
        "TCP Listener",
        {
            "keepConnectionOpen": (("true",), "a connection stays open here until the sender closes it"),
            "dataTypeBinary": (("false",), "messages are HL7 text"),
            "respondOnNewConnection": (
                ("0",),
                "the answer goes over the connection that the message came by",
            ),
        },
    )
    return made


def _file(source: Source) -> Result:
    settings = source.settings
    scheme = settings.text("scheme", "FILE")
    if scheme != "FILE":
        raise Unreadable(0, f"it reads from {scheme}", "fetch the files into a folder first")
    made: Result = {"path": settings.known("host")}
    pattern = settings.text("fileFilter", "*")
    if settings.flag("regex") or "," in pattern:
        raise Unreadable(
            0, "file names by a regular expression or several patterns", "one channel for each pattern"
        )
    if pattern != "*":
        made["pattern"] = pattern
    if "DELETE" in settings.text("afterProcessingAction", "NONE"):
        made["delete"] = True
    elif settings.text("moveToDirectory"):
        made["done"] = settings.known("moveToDirectory")
    else:
        settings.note(
            "afterProcessingAction",
            "files stay where they are",
            "a file that is stored is moved to `done` here",
        )
    if settings.text("errorMoveToDirectory"):
        made["error"] = settings.known("errorMoveToDirectory")
    if settings.flag("checkFileAge", True):
        made["stable"] = settings.seconds("fileAge", 1000)
    if settings.text("sortBy", "date") == "date":
        made["order"] = "time"
    _polling(source, made)
    source.charset()
    settings.skip(
        "anonymous", "username", "password", "timeout", "secure", "passive", "validateConnection", "schemeProperties",
        "errorReadingAction", "errorResponseAction", "fileSizeMinimum", "fileSizeMaximum", "ignoreFileSizeMaximum",
        "ignoreDot", "pollConnectorProperties",
    )  # fmt: skip
    settings.told(
        "File Reader",
        {
            "directoryRecursion": (("false",), "one folder is read, not those in it"),
            "binary": (("false",), "files are text here"),
            "moveToFileName": ((), "a file keeps its name"),
            "errorMoveToFileName": ((), "a file keeps its name"),
        },
    )
    return made


def _polling(source: Source, made: Result) -> None:
    found = Settings(source.settings.node.child("pollConnectorProperties"), source.variables, source.findings)
    if found.text("pollingType", "INTERVAL") == "INTERVAL":
        made["every"] = found.seconds("pollingFrequency", 5000)
    else:
        found.note(
            "pollingType", "it looks at times of the day", "a folder is looked at again and again here"
        )
    found.skip("pollOnStart", "pollingHour", "pollingMinute", "cronJobs", "pollConnectorPropertiesAdvanced")
    found.skip("pollingFrequency")


def _http(source: Source) -> Result:
    settings = source.settings
    if settings.flag("xmlBody"):
        raise Unreadable(0, "the message is Mirth's XML of the request", "here the body alone is the message")
    if settings.node.inside("staticResources"):
        raise Unreadable(0, "it serves static resources", "serve them by a web server")
    made = address(source)
    path = settings.known("contextPath")
    if path.strip("/"):
        made["path"] = "/" + path.strip("/")
    charset = settings.text("charset", "UTF-8")
    if charset.upper() != "UTF-8":
        source.options["charset"] = charset
    settings.skip("parseMultipart", "includeMetadata", "binaryMimeTypes", "binaryMimeTypesRegex", "timeout")
    settings.skip(
        "responseDataTypeBinary", "staticResources", "useResponseHeadersVariable", "responseHeadersVariable"
    )
    settings.told(
        "HTTP Listener",
        {
            "responseContentType": (("text/plain",), "the answer is the acknowledgement of the format"),
            "responseStatusCode": ((), "the status follows from what became of the message"),
        },
    )
    if settings.node.inside("responseHeaders"):
        settings.note("responseHeaders", "headers of the response", "they have no equal here")
    return made


_LISTENERS: dict[str, tuple[str, Callable[[Source], Result]]] = {
    "TcpReceiverProperties": ("mllp", _tcp),
    "FileReceiverProperties": ("file", _file),
    "HttpReceiverProperties": ("http", _http),
}
