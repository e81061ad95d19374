"""Commands that people type or click; every answer is for them alone."""

from __future__ import annotations

from bot.platform import Command, VoteOutcome
from bot.privacy import OWN, forget_question, privacy
from bot.resolve import choices, resolve, scope_id, scope_to_set
from bot.sentences import sentence
from bot.votes import consent_question
from data.home import rater_hash
from data.script import Lang, lang_of
from data.store import Store
from personas.loader import Cast, Persona

__all__ = ["carry_out"]


async def carry_out(
    command: Command, *, store: Store, cast: Cast, default: str, secret: bytes
) -> VoteOutcome:
    """Does what a command says and returns what to tell the person."""
    lang = lang_of(command.lang_hint) or "en"
    user = rater_hash(secret, command.place.platform, command.user)
    chosen = await choices(store, command.place, user)
    slug = resolve(chosen, known=cast.personas, default=default, hint=command.persona_hint)
    persona = cast[slug]
    if command.name == "start" and command.argument == "consent":
        return consent_question(lang)
    if command.name == "start":
        return VoteOutcome(f"{persona.greeting[lang]}\n\n{sentence('help', lang, name=persona.names[lang])}")
    if command.name == "persona":
        return await _persona(command, persona, user, lang, store=store, cast=cast)
    if command.name == "reset":
        place = command.place
        await store.close_conversation(place.platform, place.chat, place.thread, slug)
        return VoteOutcome(sentence("reset", lang))
    if command.name in OWN:
        asks = command.name == "privacy"
        return privacy(lang, await store.consent(user)) if asks else forget_question(lang, user)
    word = "help" if command.name == "help" else "command_unknown"
    return VoteOutcome(sentence(word, lang, name=persona.names[lang]))


async def _persona(
    command: Command, persona: Persona, user: str, lang: Lang, *, store: Store, cast: Cast
) -> VoteOutcome:
    others = ", ".join(f"{one.names[lang]} ({one.slug})" for one in cast.personas.values())
    if not command.argument:
        return VoteOutcome(sentence("persona_list", lang, name=persona.names[lang], others=others))
    found = cast.find(command.argument)
    if found is None:
        return VoteOutcome(sentence("persona_unknown", lang, asked=command.argument[:40], others=others))
    scope = scope_to_set(command.place, is_direct=command.is_direct)
    key = scope_id(scope, command.place, user)
    if key is not None:
        await store.set_setting(scope, key, "persona", found.slug)
    return VoteOutcome(sentence("persona_set", lang, name=found.names[lang]))
