"""Which of a patient's identifiers is the medical record number: one rule for every format and message type.

Guarantee: the same identifiers give the same choice, so that a patient is one record whatever tells of it. Refused
(`StepError`): no identifier at all, or not the one that the channel's `mrn` option asks for.
"""

from __future__ import annotations

from engine.errors import StepError
from transforms.canonical.options import Options
from transforms.canonical.types import Identifier

NOT_AN_MRN = frozenset({"SS", "SSN", "DL", "PPN", "AN", "VN", "BA", "MA", "MC", "NI", "NH", "TAX"})


def choose(options: Options, found: list[Identifier], where: str, todo: str) -> Identifier:
    """Option `mrn` decides; without it the first of type MR, else PI, else the first that can be an MRN.

    `where` is the place of the identifiers in the message, `todo` what to do when there is none.
    """
    if not found:
        raise StepError(
            "there is no patient identifier", code="patient.no_identifier", where=where, todo=todo
        )
    authority, type_ = options.mrn_authority, options.mrn_type
    if len(found) == 1 and not (authority or type_):
        return found[0]
    if authority or type_:
        for item in found:
            if authority in ("", item.assigner, item.system) and type_ in ("", item.type):
                return item
        asked = " and ".join(
            filter(None, (authority and f"authority {authority!r}", type_ and f"type {type_!r}"))
        )
        raise StepError(
            f"no identifier has {asked}",
            code="patient.no_mrn",
            where=where,
            todo="correct the channel's `mrn` option, or ask the sender for this identifier",
        )
    for wanted in ("MR", "PI"):
        for item in found:
            if item.type == wanted:
                return item
    return next((item for item in found if item.type not in NOT_AN_MRN), found[0])
