"""XML messages, read and changed by XPath 1.0.

    /order/patient/@id     //item[code='A']/text()     o:order/o:patient   (prefixes: `namespaces` of the format)

Guarantees: no external entity, no DTD, no network, and libxml2's own bounds (depth 256, 10 MB of text in a node)
whatever the message says; an element that is empty or `xsi:nil` is CLEAR, one that is not there is ABSENT; a
default namespace can be left out of paths with `ignore_namespaces`; `bytes` is the message itself until something
is set. Refuses (FormatError): what is not well-formed, any DOCTYPE.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

from engine.errors import StepError
from engine.formats.base import (
    MAX_DEPTH,
    Header,
    Identity,
    JsonAnswers,
    PathError,
    bad,
    cached,
    identify,
    reading,
)
from engine.model import ABSENT, CLEAR

MAX_PATH = 512
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_STEP = re.compile(r"/?(?:([\w.-]+):)?([A-Za-z_][\w.-]*)(?:\[(\d{1,4})\])?(?=/|$)|/?@((?:[\w.-]+:)?[\w.-]+)$")


class Xml(JsonAnswers):
    """The format `xml` of one channel; the paths are what identifies a message."""

    name = "xml"
    content_type = "application/json"  # of answers
    ordering_key = ""
    typed = False

    def __init__(
        self, namespaces: dict[str, str] | None = None, ignore_namespaces: bool = False,
        control_id: str = "", kind: str = "", sender: str = "", mrn: str = "", visit: str = "",
    ) -> None:  # fmt: skip
        self.namespaces = dict(namespaces or {})
        self.ignore_namespaces = ignore_namespaces
        self.control_id, self.kind, self.sender, self.mrn, self.visit = control_id, kind, sender, mrn, visit
        self._compiled: dict[str, Any] = {}
        for path in filter(None, (control_id, kind, sender, mrn, visit)):
            self.check(path)

    def compile(self, path: str) -> Any:
        """The compiled XPath. Raises PathError."""
        return self._compiled.get(path) or cached(self._compiled, path, self._compile)

    def _compile(self, path: str) -> Any:
        if len(path) > MAX_PATH:
            raise PathError(path[:40], MAX_PATH, "the path is too long", "XPath of at most 512 characters")
        try:
            made = etree.XPath(path, namespaces=self.namespaces, regexp=False)
        except (etree.XPathError, ValueError, TypeError) as error:
            raise PathError(path, 1, f"this is not XPath: {error}", "write /a/b/@c or //a[b='x']") from None
        unknown = [
            name
            for name in re.findall(
                r"(?<![\w:.-])([A-Za-z_][\w.-]*):(?!:)", re.sub(r"'[^']*'|\"[^\"]*\"", "", path)
            )
            if name not in self.namespaces
        ]
        if unknown:
            raise PathError(
                path, path.find(unknown[0]) + 1, f"there is no namespace prefix {unknown[0]!r}",
                "declare it in `namespaces` of the format",
            )  # fmt: skip
        return made

    def parse(self, raw: bytes) -> Element:
        """The view of a message."""
        return Element(raw, self)

    def peek(self, raw: bytes) -> Header:
        """Control id, type and sender by their paths; the type is the root's name by default."""
        view = Element(raw, self)
        kind = reading(view, self.kind) if self.kind else etree.QName(view.root).localname
        return Header(view, reading(view, self.control_id), kind, reading(view, self.sender))

    def identify(self, raw: bytes, header: Header, path: str) -> Identity:
        """By the paths of the settings."""
        return identify(header.view, self.mrn, self.visit, path or self.mrn)

    def check(self, path: str) -> None:
        """Raises PathError."""
        self.compile(path)


class Element:
    """One XML message. See the module's guarantees."""

    __slots__ = ("changed", "format", "raw", "root")

    def __init__(self, raw: bytes, form: Xml) -> None:
        self.raw = raw
        self.format = form
        self.root = load(raw)
        self.changed = False
        if form.ignore_namespaces:
            for node in self.root.iter(etree.Element):
                node.tag = etree.QName(node).localname
            etree.cleanup_namespaces(self.root)

    def _find(self, path: str) -> list[Any]:
        try:
            found = self.format.compile(path)(self.root)
        except etree.XPathError as error:
            raise StepError(
                f"the path failed: {type(error).__name__}", code="format.path.failed", where=path
            ) from None
        return found if isinstance(found, list) else [found]

    def __getitem__(self, path: str) -> Any:
        found = self._find(path)
        return _value(found[0]) if found else ABSENT

    def __contains__(self, path: str) -> bool:
        return self[path] is not ABSENT

    def all(self, path: str) -> list[Any]:
        """The text of everything that the path names, in order."""
        return [_value(item) for item in self._find(path)]

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Every attribute and every element without elements: its path, and its text."""
        prefixes = {uri: prefix for prefix, uri in self.format.namespaces.items()}
        for node in self.root.iter(etree.Element):
            path = self._path(node, prefixes)
            for name, text in node.attrib.items():
                found = etree.QName(name)
                if found.namespace is None or found.namespace in prefixes:
                    start = f"{prefixes[found.namespace]}:" if found.namespace else ""
                    yield f"{path}/@{start}{found.localname}", text or CLEAR
            if next(node.iterchildren(etree.Element), None) is None:
                yield path, _value(node)

    @staticmethod
    def _path(node: Any, prefixes: dict[str, str]) -> str:
        """A plain XPath: names where their namespaces have a prefix, else `*`; numbered where there are several."""
        steps = []
        while node is not None:
            name, parent = etree.QName(node), node.getparent()
            named = name.namespace is None or name.namespace in prefixes
            step = f"{prefixes[name.namespace]}:" if named and name.namespace else ""
            step = f"{step}{name.localname}" if named else "*"
            beside = [] if parent is None else list(parent.iterchildren(node.tag if named else etree.Element))
            steps.append(f"{step}[{beside.index(node) + 1}]" if len(beside) > 1 else step)
            node = parent
        return "/" + "/".join(reversed(steps))

    def __setitem__(self, path: str, value: Any) -> None:
        found = self._find(path)
        if value == "" and value is not CLEAR:
            for item in found:
                _remove(item)
            self.changed = self.changed or bool(found)
            return
        target = found[0] if found else self._make(path)
        try:
            _write(target, "" if value is CLEAR else str(value))
        except (AttributeError, TypeError, ValueError):
            raise StepError("nothing can be set here", code="format.set", where=path) from None
        self.changed = True

    def _make(self, path: str) -> Any:
        """The element or attribute at a plain path, made with what is missing above it."""
        node, at = None, 0
        while at < len(path):
            step = _STEP.match(path, at)
            if step is None or (node is None and not path.startswith("/")):
                raise StepError(
                    "there is nothing here, and it cannot be made of this path", code="format.set", where=path,
                    todo="only plain paths from the root, /a/b/@c, are made",
                )  # fmt: skip
            at = step.end()
            prefix, tag, number, attribute = step.groups()
            if attribute:
                assert node is not None
                return node, self._qualified(*attribute.rpartition(":")[::2])
            name = self._qualified(prefix or "", tag)
            if node is None:
                if self.root.tag != name:
                    raise StepError("the message has another root", code="format.set", where=path)
                node = self.root
                continue
            known = node.findall(name)
            wanted = int(number or 1)
            node = known[wanted - 1] if wanted <= len(known) else etree.SubElement(node, name)
        return node

    def _qualified(self, prefix: str, tag: str) -> str:
        return f"{{{self.format.namespaces[prefix]}}}{tag}" if prefix else tag

    def places(self, path: str) -> list[str]:
        """A plain path for every element, attribute or text at `path`."""
        return [place for item in self._find(path) if (place := _place(item))]

    def split(self, path: str) -> list[bytes]:
        """The document once for each element at `path`, without the others."""
        found = [node for node in self._find(path) if isinstance(node, etree._Element)]
        if len(found) < 2 or self.root in found:
            return []
        made = []
        tree = self.root.getroottree()
        places = [tree.getpath(node) for node in found]
        for place in places:
            whole = copy.deepcopy(self.root)
            for node in [whole.getroottree().xpath(other)[0] for other in places if other != place]:
                _remove(node)
            made.append(_bytes(whole))
        return made

    def __bytes__(self) -> bytes:
        return _bytes(self.root) if self.changed else self.raw

    def __repr__(self) -> str:
        return f"<XML message, {len(self.raw)} bytes>"


def load(raw: bytes) -> Any:
    """The root of a document, read without entities, DTD and network."""
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, dtd_validation=False, no_network=True, huge_tree=False,
        remove_comments=False, remove_pis=False,
    )  # fmt: skip
    try:
        root = etree.fromstring(raw.lstrip(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        line, column = getattr(error, "position", (0, 0))
        raise bad(f"the message is not well-formed XML (line {line} column {column})", "send XML") from None
    if root.getroottree().docinfo.internalDTD is not None or root.getroottree().docinfo.doctype:
        raise bad("the message has a DOCTYPE", "send XML without a document type", "format.doctype")
    if root.xpath(f"boolean({'/*' * (MAX_DEPTH + 1)})"):
        raise bad(f"the message is nested deeper than {MAX_DEPTH}", "send a flatter one", "format.depth")
    return root


def _value(found: Any) -> Any:
    if isinstance(found, etree._Element):
        if found.get(_NIL) in ("true", "1"):
            return CLEAR
        found = "".join(found.itertext(etree.Element, etree.Entity)) if len(found) else (found.text or "")
        return found if found.strip() else CLEAR
    if isinstance(found, str):
        return str(found) or CLEAR
    if isinstance(found, float) and found.is_integer():
        return int(found)
    return found


def _write(target: Any, text: str) -> None:
    if isinstance(target, tuple):
        target[0].set(target[1], text)
    elif isinstance(target, etree._Element):
        for child in list(target):
            target.remove(child)
        target.text = text
        target.attrib.pop(_NIL, None)
    elif target.is_attribute:
        target.getparent().set(target.attrname, text)
    elif target.is_text:
        target.getparent().text = text
    else:
        raise TypeError


def _place(found: Any) -> str:
    """The path of a node by its position among all elements, so that it needs no namespace."""
    last = ""
    if not isinstance(found, etree._Element):
        if getattr(found, "is_attribute", False):
            name = etree.QName(found.attrname)
            last = f"/@*[local-name()='{name.localname}' and namespace-uri()='{name.namespace or ''}']"
        elif not getattr(found, "is_text", False):
            return ""
        found = found.getparent()
    steps = []
    while found is not None:
        before = sum(1 for _ in found.itersiblings(etree.Element, preceding=True))
        steps.append(f"/*[{before + 1}]")
        found = found.getparent()
    return "".join(reversed(steps)) + last


def _remove(found: Any) -> None:
    if isinstance(found, etree._Element):
        parent = found.getparent()
        if parent is None:
            raise StepError("the root cannot be removed", code="format.set")
        before, tail = found.getprevious(), found.tail or ""
        if before is not None:
            before.tail = (before.tail or "") + tail
        else:
            parent.text = (parent.text or "") + tail
        parent.remove(found)
    elif getattr(found, "is_attribute", False):
        found.getparent().attrib.pop(found.attrname, None)
    elif getattr(found, "is_text", False):
        found.getparent().text = ""


def _bytes(root: Any) -> bytes:
    encoding = root.getroottree().docinfo.encoding or "UTF-8"
    made: bytes = etree.tostring(root.getroottree(), encoding=encoding, xml_declaration=True)
    return made
