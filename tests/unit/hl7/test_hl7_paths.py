"""The path language: what it means, and what it says about what it cannot read."""

import pytest

from engine.errors import ConfigError
from engine.hl7 import paths
from engine.hl7.paths import PathError


def parts(path: str) -> tuple[object, ...]:
    p = paths.compile(path)
    return (p.segment, p.occurrence, p.field, p.repetition, p.where, p.component, p.sub)


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("PID-5", ("PID", 0, 5, 0, None, 0, 0)),
        ("PID-5.1", ("PID", 0, 5, 0, None, 1, 0)),
        ("PID.5.1", ("PID", 0, 5, 0, None, 1, 0)),
        ("PID-5.1.2", ("PID", 0, 5, 0, None, 1, 2)),
        ("PID-3[2].1", ("PID", 0, 3, 2, None, 1, 0)),
        ("OBX-5[2]", ("OBX", 0, 5, 2, None, 0, 0)),
        ("OBX[3]-5", ("OBX", 3, 5, 0, None, 0, 0)),
        ("OBX[3].5.1", ("OBX", 3, 5, 0, None, 1, 0)),
        ("PID-3[5=MR].1", ("PID", 0, 3, 0, (5, 0, "MR"), 1, 0)),
        ("PID-3[4.2=1.2.3].1", ("PID", 0, 3, 0, (4, 2, "1.2.3"), 1, 0)),
        ("PID-3[5=].1", ("PID", 0, 3, 0, (5, 0, ""), 1, 0)),
        ("PID-3[4='A]B'].1", ("PID", 0, 3, 0, (4, 0, "A]B"), 1, 0)),
        ('PID-3[4="A B"].1', ("PID", 0, 3, 0, (4, 0, "A B"), 1, 0)),
        ("ZA1-1", ("ZA1", 0, 1, 0, None, 0, 0)),
        ("PID.patient_name.family_name", ("PID", 0, 5, 0, None, 1, 0)),
        ("PID.patient_name.family_name.surname", ("PID", 0, 5, 0, None, 1, 1)),
        ("PID-patient_identifier_list[5=MR].id_number", ("PID", 0, 3, 0, (5, 0, "MR"), 1, 0)),
        ("PID.patient_id_internal_id", ("PID", 0, 3, 0, None, 0, 0)),  # its name up to 2.3
        ("OBX[2].observation_value", ("OBX", 2, 5, 0, None, 0, 0)),
        ("PID.3.assigning_authority.universal_id", ("PID", 0, 3, 0, None, 4, 2)),
    ],
)
def test_meaning(path: str, meaning: tuple[object, ...]) -> None:
    assert parts(path) == meaning
    assert paths.compile(path) is paths.compile(path)
    assert paths.compile(path).text == path


@pytest.mark.parametrize(
    ("path", "column", "says"),
    [
        ("", 1, "empty"),
        ("PID", 4, "did you mean PID-1?"),
        ("pid-5", 1, "did you mean PID-5?"),
        ("PID-0", 5, "counts from 1"),
        ("PID-3[0].1", 7, "counts from 1"),
        ("OBX[0]-5", 5, "counts from 1"),
        ("PID-5.0", 7, "counts from 1"),
        ("PID-3[0=MR]", 7, "counts from 1"),
        ("PID-5-1", 6, "did you mean PID-5.1?"),
        ("PID-5^1", 6, "did you mean PID-5.1?"),
        ("PID-3[2]-1-2", 9, "did you mean PID-3[2].1.2?"),
        ("PID-5.1x", 8, "did you mean PID-5.1?"),
        ("PID-3[5=MR.1", 6, "did you mean PID-3?"),
        ("PID-5.1.2.3", 10, "did you mean PID-5.1.2?"),
        (" PID-5", 1, "did you mean PID-5?"),
        ("PID -5", 4, "did you mean PID-5?"),
        ("5.1", 1, "did you mean PID-5.1?"),
        ("PID.patient_nam.family_name", 5, "did you mean patient_name?"),
        ("PID.patient_name.familyname", 18, "did you mean family_name?"),
        ("XYZ.patient_name", 1, "has no segment XYZ"),
        ("what?", 1, "PID-3[5=MR].1"),
    ],
)
def test_errors_say_where_and_what_to_write(path: str, column: int, says: str) -> None:
    with pytest.raises(PathError) as caught:
        paths.compile(path)
    assert isinstance(caught.value, ConfigError)
    assert caught.value.code == "hl7.path"
    assert says in str(caught.value)
    assert caught.value.column == column


def test_relative_paths() -> None:
    assert paths.relative(3).field == 3
    assert paths.relative("3[5=MR].1").component == 1
    with pytest.raises(PathError, match=r"did you mean 3\.1\?"):
        paths.relative("PID-3.1")


def test_the_cache_has_an_end() -> None:
    for n in range(1, 999):
        for c in range(1, 8):
            paths.compile(f"ZZ9-{n}.{c}")
    assert len(paths.known) <= 4096
    assert parts("PID-5") == ("PID", 0, 5, 0, None, 0, 0)
