"""Which versions are ours: exactly those that only this engine's writing led to, for each reader by itself."""

from hypothesis import given
from hypothesis import strategies as st

from engine.fhirserver import written
from engine.fhirserver.written import Written


def version(number):
    return f"Patient/1/_history/{number}"


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans())))
def test_against_the_plain_rule(steps):
    """Each step writes a version, by us or not, and perhaps the reader looks at it, and stores it."""
    ours, unseen = Written(), False
    for number, (own, looks, stores) in enumerate(steps, 1):
        if own:
            ours.add(version(number), version(number - 1) if number > 1 else "")
        else:
            unseen = True
        if looks:
            expected = own and not unseen
            assert ours.own(version(number), "hook") == expected
            assert ours.own(version(number), "hook") == expected, "asked again"
            if stores:
                ours.seen(version(number), "hook")
                unseen = False


def test_each_reader_by_itself_and_unchanged_versions():
    ours = Written()
    assert not ours.own(version(1), "hook")
    ours.seen(version(1), "hook")
    ours.add(version(1), version(1))  # the server kept the version that was there
    ours.add("Patient/1", "")  # a server that tells no versions
    assert not len(ours) and not ours.own("", "hook") and not ours.own("Patient/1", "hook")
    ours.add(version(2), version(1))
    assert ours.own(version(2), "hook") and not ours.own(version(2), "other")


def test_what_is_forgotten_is_news(monkeypatch):
    monkeypatch.setattr(written, "LIMIT", 3)
    ours = Written()
    for number in range(1, 6):
        ours.add(version(number), version(number - 1) if number > 1 else "")
    assert len(ours) == 3 and not ours.own(version(5), "hook")
