"""Whatever must match a pattern: people are told in words, never by the pattern."""

from engine.spec.channel import load

WRONG = """
channels:
  in:
    listener: {http: {port: 2575, path: hl7}}
    search: {columns: {Ward No: PV1-3}}
  hook:
    format: fhir
    listener: {fhir_subscription: {port: 2576, path: hook, header: {name: "X Engine", value: s}}}
"""


def test_patterns_are_words(tmp_path):
    file = tmp_path / "channels.yaml"
    file.write_text(WRONG)
    told = [str(one) for one in load(file, {}).errors]
    for name, words in (
        ("path", "must begin with /"),
        ("Ward No", "small letters"),
        ("name", "letters, digits and -"),
    ):
        assert [line for line in told if f"{name}: must be" in line and words in line], told
    assert not [line for line in told if "^" in line], told
