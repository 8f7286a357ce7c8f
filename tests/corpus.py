"""The corpus: messages, notifications and resources that others wrote, which are no part of this repository.

ISTHMUS_CORPUS names its folder, which has `hl7v2`, `fhir` and `expected`; without it `shared/corpus/dev` is looked for
beside this checkout, then beside the folder that holds it. Tests that need it are skipped where it is not, and say so.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_PLACES = [folder / "shared" / "corpus" / "dev" for folder in ROOT.parents[:2]]
CORPUS = Path(os.environ.get("ISTHMUS_CORPUS") or next((one for one in _PLACES if one.is_dir()), _PLACES[0]))
HL7V2, FHIR = CORPUS / "hl7v2", CORPUS / "fhir"
MEDPLUM = (
    CORPUS.parents[1] / "facts" / "fixtures" / "medplum_5.0.10_rest_hook.jsonl"
)  # requests as it sent them

needs_corpus = pytest.mark.skipif(
    not HL7V2.is_dir(), reason=f"the corpus is not at {CORPUS}: ISTHMUS_CORPUS names its folder"
)
needs_medplum = pytest.mark.skipif(
    not MEDPLUM.is_file(), reason=f"the recorded requests are not at {MEDPLUM}"
)
