"""Who may do what: four roles, each on all channels or on some, and patient data as a right of its own.

| role     | may                                                                                      |
|----------|------------------------------------------------------------------------------------------|
| viewer   | look at channels, messages (masked), errors, jobs                                         |
| operator | also replay, resend, discard, export, start, stop and pause channels                      |
| analyst  | also change the configuration, try and deploy it                                          |
| admin    | also users, tokens of others, the audit log                                               |

`reveal` (to see what messages hold) is given to a user apart from roles, and every view is audited.
Guarantees: a token never may more than its user may now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec


class Role(StrEnum):
    """What a user may do on a channel; each includes the ones before."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ANALYST = "analyst"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return list(Role).index(self)


TAG = "tag:"


class Grant(msgspec.Struct, frozen=True):
    """A role on some channels (names, or `tag:NAME` for all that have this tag); on all when `channels` is empty."""

    role: Role
    channels: tuple[str, ...] = ()


class Identity(msgspec.Struct, frozen=True):
    """Who acts, with what rights. `token` is the id of the API token that was used, 0 for a session."""

    name: str
    grants: tuple[Grant, ...] = ()
    reveal: bool = False
    token: int = 0

    def may(self, role: Role, channel: str | None = None) -> bool:
        """Whether they have at least `role` on `channel`; None: on all channels."""
        return any(
            grant.role.rank >= role.rank and (not grant.channels or channel in grant.channels)
            for grant in self.grants
        )

    def somewhere(self, role: Role) -> bool:
        """Whether they have at least `role` on any channel."""
        return any(grant.role.rank >= role.rank for grant in self.grants)

    def channels(self, role: Role) -> tuple[str, ...] | None:
        """The channels on which they have at least `role`; None: all of them, also new ones."""
        fitting = [grant for grant in self.grants if grant.role.rank >= role.rank]
        if any(not grant.channels for grant in fitting):
            return None
        return tuple(sorted({name for grant in fitting for name in grant.channels}))


def resolved(identity: Identity, tags: Mapping[str, Iterable[str]]) -> Identity:
    """The identity with the channels of each tag; a grant on tags that no channel has gives nothing."""
    if not any(name.startswith(TAG) for grant in identity.grants for name in grant.channels):
        return identity
    grants = []
    for grant in identity.grants:
        names: set[str] = set()
        for name in grant.channels:
            names |= set(tags.get(name.removeprefix(TAG), ())) if name.startswith(TAG) else {name}
        if names or not grant.channels:
            grants.append(Grant(grant.role, tuple(sorted(names))))
    return Identity(identity.name, tuple(grants), identity.reveal, identity.token)


def narrowed(user: Identity, grants: Iterable[Grant], reveal: bool, token: int) -> Identity:
    """The rights of a token: what it was given, as far as its user still has it."""
    kept: list[Grant] = []
    for wanted in grants:
        for held in user.grants:
            role = min(wanted.role, held.role, key=lambda role: role.rank)
            both = tuple(name for name in wanted.channels if name in held.channels)
            if not wanted.channels or not held.channels:
                both = wanted.channels or held.channels
            elif not both:
                continue
            kept.append(Grant(role, both))
    return Identity(user.name, tuple(dict.fromkeys(kept)), reveal and user.reveal, token)
