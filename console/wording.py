"""Makes what a template says translatable as it stands: text between tags, and in `title`, `aria-label` and `alt`.

    <button>Sign out</button>      is read as   <button>{{ _("Sign out") }}</button>
    <p>{{ job.done }} of them</p>  is read as   <p>{{ _("%(done)s of them", done=(job.done)) }}</p>

Guarantees: what is in Jinja, in `<code>`, `<script>` and `<style>`, or has no letters, is left alone. So pages are
written in English, and `texts` lists everything that a catalogue must have. Refuses nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from jinja2 import Environment, nodes
from jinja2.ext import Extension

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_TAG = re.compile(r"<[A-Za-z/!](?:\"[^\"]*\"|'[^']*'|[^'\">])*>")
_ATTRIBUTE = re.compile(r"(\s(?:title|aria-label|alt)=\")([^\"]*[A-Za-z][^\"]*)(\")")
_HELD = re.compile("\x00(\\d+)\x01")
_LETTERS = re.compile(r"[A-Za-z]{2}")
_ALONE = re.compile(r"^(\s*)(.*?)(\s*)$", re.DOTALL)
TITLE = " · Isthmus"
SILENT = ("code", "script", "style", "pre")
STYLES = frozenset({"bad", "dim", "warn", "disable", "enable"})
"""What expressions give to a class or a value, and nobody reads."""
SAME = frozenset({"Isthmus", "ACK", "MRN", "CSV", "HL7", "JSON", "UTC"})
"""Names that are the same in every language."""


class Wording(Extension):
    """The Jinja extension."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """The template with its text wrapped."""
        return "".join(_pieces(source))


def _pieces(source: str) -> Iterator[str]:
    at, silent = 0, ""
    held: list[str] = []

    def guard(found: re.Match[str]) -> str:
        held.append(found[0])
        return f"\x00{len(held) - 1}\x01"

    def give(text: str) -> str:
        return _HELD.sub(lambda found: held[int(found[1])], text)

    def said(text: str, quote: str = '"') -> str:
        """With whole sentences wrapped; what stands between statements of Jinja is a sentence."""
        parts = re.split("(\x00\\d+\x01)", text)
        made, sentence = [], ""
        for part in [*parts, ""]:
            found = _HELD.fullmatch(part)
            if found is not None and not held[int(found[1])].startswith("{{"):
                made += [_sentence(sentence, held, quote), part]
                sentence = ""
            else:
                sentence += part
        return give("".join([*made, _sentence(sentence, held, quote)]))

    plain = _JINJA.sub(guard, source)
    for tag in _TAG.finditer(plain):
        text = plain[at : tag.start()]
        yield give(text) if silent else said(text)
        at = tag.end()
        words = tag[0].strip("</>").split()
        name = words[0].lower() if words else ""
        if silent:
            silent = "" if tag[0].startswith("</") and name == silent else silent
        elif name in SILENT and not tag[0].startswith("</"):
            silent = name
        yield give(_ATTRIBUTE.sub(lambda found: found[1] + said(found[2], "'") + found[3], tag[0]))
    yield give(plain[at:]) if silent else said(plain[at:])


def _sentence(text: str, held: list[str], quote: str) -> str:
    """One call for a text with its expressions."""
    before, said, after = _ALONE.match(text).groups()  # type: ignore[union-attr]
    if said.endswith(TITLE):
        said, after = said.removesuffix(TITLE), TITLE + after
    letters = _HELD.sub("", re.sub(r"&\w+;", "", said))
    if not _LETTERS.search(letters) or letters.strip() in SAME:
        return text
    values: dict[str, str] = {}

    def name_of(found: re.Match[str]) -> str:
        expression = held[int(found[1])][2:-2].strip("- \n")
        word = re.findall(r"[A-Za-z_]+", re.split(r"[|(\[]", expression)[0]) or ["value"]
        name = word[-1]
        while values.get(name, expression) != expression:
            name += "_"
        values[name] = expression
        return f"%({name})s"

    message = " ".join(_HELD.sub(name_of, said.replace("%", "%%")).split())
    message = json.dumps(message, ensure_ascii=False)[1:-1]
    if quote == "'":
        message = message.replace('\\"', '"').replace("'", "\\'")
    given = "".join(f", {name}=({expression})" for name, expression in values.items())
    return f"{before}{{{{ _({quote}{message}{quote}{given}) }}}}{after}"


def texts(env: Environment, source: str) -> set[str]:
    """Every text of a template that a catalogue must have."""
    found = set()
    for _, _, message in env.extract_translations(env.preprocess(source)):  # type: ignore[attr-defined]
        found |= {message} if isinstance(message, str) else {one for one in message if one}
    return found


def untranslated(env: Environment, source: str) -> set[str]:
    """Texts that an expression of a template shows as they are."""
    found: set[str] = set()
    for output in env.parse(env.preprocess(source)).find_all(nodes.Output):
        for node in output.nodes:
            found |= _constants(node)
    return {text for text in found if re.search(r"[a-z]{3}|[A-Z][a-z]", text) and text not in STYLES}


def _constants(node: nodes.Node) -> set[str]:
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, nodes.CondExpr):
        return _constants(node.expr1) | (_constants(node.expr2) if node.expr2 else set())
    if isinstance(node, nodes.Or | nodes.And):
        return _constants(node.left) | _constants(node.right)
    if isinstance(node, nodes.Concat):
        return set().union(*map(_constants, node.nodes))
    return set()
