"""Which persona answers: the page's pick, then thread > channel > guild > user > default."""

from __future__ import annotations

from collections.abc import Container, Mapping

from bot.platform import Place
from data.records import Scope
from data.store import Store

__all__ = ["ORDER", "choices", "resolve", "scope_id", "scope_to_set"]

ORDER: tuple[Scope, ...] = ("thread", "channel", "guild", "user")


def resolve(
    chosen: Mapping[Scope, str], *, known: Container[str], default: str, hint: str | None = None
) -> str:
    """The persona that answers; a choice that is no longer there is passed over."""
    for slug in (hint, *(chosen.get(scope) for scope in ORDER)):
        if slug is not None and slug in known:
            return slug
    return default


def scope_id(scope: Scope, place: Place, user_hash: str) -> str | None:
    """The key of a scope's settings; None where the place has no such scope."""
    if scope == "thread":
        return f"{place.platform}:{place.chat}:{place.thread}" if place.thread else None
    if scope == "channel":
        return f"{place.platform}:{place.chat}"
    if scope == "guild":
        return f"{place.platform}:{place.guild}" if place.guild else None
    return user_hash


def scope_to_set(place: Place, *, is_direct: bool) -> Scope:
    """Where a person's choice belongs: the thread, else the private chat's person, else the channel."""
    if place.thread:
        return "thread"
    return "user" if is_direct else "channel"


async def choices(store: Store, place: Place, user_hash: str) -> dict[Scope, str]:
    """What was chosen in each scope of a place."""
    found: dict[Scope, str] = {}
    for scope in ORDER:
        key = scope_id(scope, place, user_hash)
        value = None if key is None else await store.setting(scope, key, "persona")
        if value is not None:
            found[scope] = value
    return found
