"""What an outcome makes of a delivery: the row of C3.

Guarantees: SENT and ERROR are for good, where no response steps have their say first (PENDING); a delivery that failed
alone waits by itself, longer each time; one that failed with its whole destination, or because the destination
refuses us, stays QUEUED and is due at once.
"""

from __future__ import annotations

import random

from channels.lanes import Entry
from channels.retry import wait
from engine.clock import Micros
from engine.model import Outcome
from engine.spec.options import Retry
from engine.states import DeliveryState, Result
from engine.store.deliveries import Delivered

REFUSED = "deliver.refused"


def made_of(
    destination: str,
    entry: Entry,
    outcome: Outcome,
    retry: Retry,
    at: Micros,
    rng: random.Random,
    *,
    alone: bool,
    pending: bool = False,
) -> Delivered:
    """C3 for one delivery; `pending`: response steps end it, the error columns keep the verdict until then."""
    attempts = entry.attempts + 1
    state, next_at = DeliveryState.QUEUED, 0
    if outcome.result == Result.SENT:
        state = DeliveryState.SENT
    elif outcome.result == Result.PERMANENT:
        state = DeliveryState.ERROR
    elif outcome.result == Result.CONFIG:
        pass
    elif alone:
        if retry.attempts and attempts >= retry.attempts:
            state = DeliveryState.ERROR
        else:
            next_at = at + int(wait(retry, attempts, rng) * 1e6)
    code = outcome.code
    if pending and state in (DeliveryState.SENT, DeliveryState.ERROR):
        code = "" if state == DeliveryState.SENT else code or "destination.refused"
        state = DeliveryState.PENDING
    return Delivered(
        message_id=entry.id,
        destination=destination,
        state=state,
        attempts=attempts,
        at=at,
        next_at=next_at,
        error_code=code or None,
        error_text=outcome.text or None,
        error_place=outcome.place or None,
        record=outcome.record or None,
        request=outcome.request,
        response=outcome.response,
    )


def refused(change: Delivered, error: Exception, place: str) -> Delivered:
    """In the place of a C3 that cannot be stored."""
    return Delivered(
        message_id=change.message_id,
        destination=change.destination,
        state=DeliveryState.ERROR,
        attempts=change.attempts,
        at=change.at,
        error_code=REFUSED,
        error_text=f"it ended as {change.state}, and what is told of that cannot be stored ({type(error).__name__})",
        error_place=place,
        record=change.record if isinstance(change.record, str) else None,
    )
