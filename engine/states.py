"""The states of a message and of a delivery: the field's own words (Mirth's), and nothing else.

message   RECEIVED -> FILTERED | TRANSFORMED | ERROR          (C1 writes the first, C2 the second)
delivery  QUEUED -> SENT | ERROR | DISCARDED, QUEUED -> QUEUED on retry, PENDING between answer and
          response transformer                                (C2 writes the first, C3 the others)
"""

from enum import StrEnum


class MessageState(StrEnum):
    """What has become of a message."""

    RECEIVED = "RECEIVED"  # stored, acknowledged, not yet through the channel's filters and transformers
    FILTERED = "FILTERED"  # a filter let it not pass; the reason is kept
    TRANSFORMED = "TRANSFORMED"  # went through; its deliveries tell the rest
    ERROR = "ERROR"  # could not be read, or a step failed; replay after the cause is mended


class DeliveryState(StrEnum):
    """What has become of a message on its way to one destination."""

    QUEUED = "QUEUED"  # to be sent, now or at `next_at`
    SENT = "SENT"  # the destination has it
    PENDING = "PENDING"  # sent; the response transformer has not run yet
    ERROR = "ERROR"  # given up: the dead-letter queue
    DISCARDED = "DISCARDED"  # an operator decided that it need not be sent


class Result(StrEnum):
    """How one attempt to deliver ended (DESIGN: retry classes)."""

    SENT = "sent"
    RETRY = "retry"  # certainly not applied; try again later
    UNKNOWN = "unknown"  # perhaps applied; send the same again, unchanged
    PERMANENT = "permanent"  # the destination refuses this data: ERROR
    CONFIG = "config"  # the destination refuses us (key, right, model): hold the destination, say so loudly
