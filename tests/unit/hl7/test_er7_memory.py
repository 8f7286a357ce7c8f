"""A message gives its memory back at once."""

import gc

from engine.hl7.er7 import Message


def test_a_message_is_freed_at_once():
    """No cycle: the collector need not run before 16 MiB of text are given back."""
    gc.collect()
    gc.disable()
    try:
        message = Message(b"MSH|^~\\&|A|B|||||ADT^A01|1|P|2.5\rPID|1||7^^^A~8||Doe\rOBX|1||||x\r")
        segment = message.segments("PID")[0]
        message["PID-8"] = "F"
        assert segment["3[2].1"] == "8"
        before = len([one for one in gc.get_objects() if isinstance(one, Message)])
        del message
        assert len([one for one in gc.get_objects() if isinstance(one, Message)]) == before - 1
        assert segment["8"] == "F"  # a segment lives on without its message
    finally:
        gc.enable()
