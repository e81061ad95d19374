"""What `troupe run` prints when everything is up: one real exchange per persona, and lines to copy."""

from __future__ import annotations

import time

from rich.console import Console
from rich.text import Text

from bot.compose import compose
from bot.reconcile import Reconciler
from bot.settings import Settings
from bot.tokens import Tokens
from data.script import Lang
from engine.protocol import Engine
from personas.loader import Cast, Persona

__all__ = ["greet"]

SMALLEST_CONTEXT = 1024


async def greet(cast: Cast, engine: Engine, reconciler: Reconciler, *, page: str, settings: Settings) -> None:
    """Asks every persona its first opener and prints what it says.

    Raises:
        EngineError: the engine went away meanwhile.
    """
    console = Console(soft_wrap=True)
    tokens = Tokens(engine)
    tokens.use(await engine.info())
    for persona in cast.personas.values():
        await _exchange(console, persona, engine, reconciler, tokens)
    console.print()
    for label, line in _lines(cast, engine, page, settings):
        console.print(Text(f"{label:<10}", style="bold"), Text(line), sep="")


async def _exchange(
    console: Console, persona: Persona, engine: Engine, reconciler: Reconciler, tokens: Tokens
) -> None:
    champion = reconciler.champion(persona.slug)
    # In its own language: a name that is the same in both Chinese scripts is a Chinese one.
    lang: Lang = "zh-CN" if persona.names["zh-CN"] == persona.names["zh-TW"] else "en"
    info = await engine.info()
    question = persona.openers[lang][0]
    composed = await compose(
        persona,
        (),
        question,
        lang=lang,
        tokens=tokens,
        context=info.context or SMALLEST_CONTEXT,
        adapter=champion.name if champion else None,
        seed=0,
    )
    began = time.monotonic()
    text = ""
    async for delta in engine.generate(
        composed.model, composed.messages, composed.sampling, request_id=f"greeting-{persona.slug}"
    ):
        text += delta.text
    seconds = time.monotonic() - began
    adapter = champion.name if champion else "none (prompt only)"
    console.print()
    console.print(Text("you     ", style="dim"), Text(question), sep="")
    console.print(Text(f"{persona.names[lang]}  ", style="bold"), Text(text.strip()), sep="")
    console.print(Text(f"        {seconds:.1f} s, adapter {adapter}", style="dim"))


def _how(variable: str) -> str:
    return f"set {variable} (or {variable}_FILE) and start again"


def _lines(cast: Cast, engine: Engine, page: str, settings: Settings) -> list[tuple[str, str]]:
    slug = list(cast.personas)[-1]
    url = getattr(engine, "url", "http://127.0.0.1:8081")
    body = '{"model": "base", "messages": [{"role": "user", "content": "hello"}]}'
    return [
        ("page", page),
        ("terminal", f".venv/bin/troupe chat {slug}"),
        ("engine", f"curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'"),
        ("Discord", "on" if settings.discord_token else _how("DISCORD_TOKEN")),
        ("Telegram", "on" if settings.telegram_token else _how("TELEGRAM_TOKEN")),
        ("stop", "Ctrl-C"),
    ]
