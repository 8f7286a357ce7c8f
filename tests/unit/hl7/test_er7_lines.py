"""How a message is cut into lines."""

from hypothesis import given
from hypothesis import strategies as st

from engine.hl7 import er7


@given(st.text("\r\r\n \tMA|\x1c\x0b\x0c\ufeff\x00!", max_size=12))
def test_lines_are_the_same_whichever_way_they_are_cut(text):
    assert er7._lines(text) == er7._odd_lines(text)
