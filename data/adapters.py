"""Versions and aliases as steps of a unit of the writer: files never change, only what points to them."""

from __future__ import annotations

from dataclasses import asdict

from data.records import Adapter, AliasName
from data.statements import Session

__all__ = ["crown", "named", "point", "register"]


async def register(session: Session, adapter: Adapter, now: float) -> None:
    """Adds the version, under another name where a folder of that name was built anew."""
    values = asdict(adapter)
    if await session.one("adapter_of_other_digest", **values):
        values["version"] = f"{adapter.version}-{adapter.digest[:8]}"
    await session.run("add_adapter", **values, now=now)


async def named(session: Session, persona: str, base_fingerprint: str, alias: AliasName) -> str | None:
    """The digest that an alias names."""
    row = await session.one("get_alias", persona=persona, base_fingerprint=base_fingerprint, alias=alias)
    return None if row is None else str(row["digest"])


async def point(
    session: Session, persona: str, base_fingerprint: str, alias: AliasName, digest: str | None, now: float
) -> None:
    """Points an alias to a version, or removes it."""
    values = {"persona": persona, "base_fingerprint": base_fingerprint, "alias": alias, "digest": digest}
    await session.run("remove_alias" if digest is None else "set_alias", **values, now=now)


async def crown(
    session: Session, persona: str, base_fingerprint: str, digest: str, now: float
) -> tuple[str | None, str | None]:
    """Makes a version champion and the old champion previous; returns what both named before."""
    champion = await named(session, persona, base_fingerprint, "champion")
    previous = await named(session, persona, base_fingerprint, "previous")
    if champion != digest:
        await point(session, persona, base_fingerprint, "champion", digest, now)
        if champion is not None:
            await point(session, persona, base_fingerprint, "previous", champion, now)
    return champion, previous
