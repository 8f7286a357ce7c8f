"""Response transformers of Mirth as the `response` steps of a destination.

    if (msg['MSA']['MSA.1']['MSA.1.1'].toString() == 'AE') { responseStatus = ERROR; }
        → verdict: {state: error, when: "msg['MSA-1.1'] == 'AE'"}

Guarantees: a script is converted as a whole or not at all; what a later script decides is decided later here. The maps
of the channel are not known any more when an answer comes: a script that reads them is not converted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.mirth.expressions import Translator
from engine.mirth.findings import Findings
from engine.mirth.javascript import statements
from engine.mirth.parts import Part
from engine.mirth.steps import Steps, both
from engine.mirth.syntax import Assign, Call, If, Member, Name, Node, Return, Unreadable
from engine.mirth.values import opposite, text_of
from engine.mirth.variables import Variables
from engine.mirth.yamltext import Remark

STATUS = "responseStatus"
TEXTS = ("responseStatusMessage", "responseErrorMessage")
STATES = {"SENT": "sent", "ERROR": "error"}


def response(
    found: Iterable[Part], variables: Variables, findings: Findings, tables: dict[str, Any]
) -> list[Any]:
    """The steps as YAML; the answers are HL7. What is not converted is told, and stands as a remark."""
    steps = Steps(Variables(variables.configuration), findings, tables, "hl7v2")
    items: list[Any] = []
    for part in found:
        if part.type != "JavaScriptStep" or not any(one in part.script for one in (STATUS, *TEXTS)):
            steps.add([part])
            items, steps.items = [*items, *steps.items], []
            continue
        label = part.label("response transformer")
        if not part.enabled:
            findings.add("note", "step", part.line, label, "it is disabled in Mirth and left out")
            continue
        try:
            made = _Verdicts(steps.variables, part)
            made.block(statements(part.script), "")
            if not made.items:
                raise Unreadable(0, "it changes only the text of the answer")
        except Unreadable as error:
            items.append(Remark(f"Not converted, line {part.line}: {label}"))
            line = part.script_line + error.line
            findings.add("not converted", "step", line, label, error.what, error.hint, part.script)
            continue
        for note in dict.fromkeys([*made.notes, *made.translator.notes]):
            findings.add("note", "step", part.line, label, note)
        findings.add("converted", "step", part.line, label)
        items += [Remark(f"Line {part.line}"), *({"verdict": one} for one in made.items)]
    return items


class _Verdicts:
    """What one script says of the answer."""

    def __init__(self, variables: Variables, part: Part) -> None:
        self.translator = Translator(variables, "hl7v2", f"line {part.line}")
        self.items: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def block(self, found: tuple[Node, ...], when: str) -> None:
        """The statements of the script, or of a branch that runs `when`. Raises Unreadable."""
        text, mine = "", len(self.items)
        for at, one in enumerate(found):
            match one:
                case Assign(target=Name(name="responseStatus"), value=Name(name=state)) if state in STATES:
                    self.items.append({"state": STATES[state], **({"when": when} if when else {})})
                case Assign(target=Name(name="responseStatus")):
                    hint = "`retry_on` of `mllp` names the codes that are tried again"
                    raise Unreadable(one.line, "the status is neither SENT nor ERROR", hint)
                case Assign(target=Name(name=name), value=value) if name in TEXTS:
                    fixed = text_of(value)
                    if fixed is None:
                        self.notes.append(
                            "its text is made of the answer; here it is fixed, so that no data gets into it"
                        )
                    text = fixed or text
                case If():
                    test = self.translator.truth(one.test)
                    self.block(one.yes, both(when, test))
                    self.block(one.no, both(when, opposite(test)))
                case Call(of=Member(of=Name(name="logger"))):
                    self.notes.append("what it logs is left out: every answer is kept")
                case Return() if not when and at == len(found) - 1:
                    continue
                case _:
                    raise Unreadable(one.line, "this statement", "write a `python` step under `response`")
        for item in self.items[mine:]:
            if text and item["state"] == "error" and item.get("when", "") == when:
                item["text"] = text
