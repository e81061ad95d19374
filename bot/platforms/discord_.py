"""Discord: a gateway client, slash commands, and buttons that outlive a restart.

Intents: guilds, messages in guilds and in direct messages, and the privileged message content, which must
also be switched on in the developer portal.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import aiohttp
import discord
import structlog
from discord import app_commands

from bot.errors import PlatformRefused
from bot.platform import (
    Ask,
    Button,
    Capabilities,
    Command,
    Core,
    Cursor,
    Incoming,
    Place,
    PlatformName,
    PortError,
    Press,
    RetryLater,
    SendUnknown,
    VoteOutcome,
)
from data.script import Lang
from data.text import fit, split

__all__ = ["Discord", "incoming_of"]

_log = structlog.get_logger(__name__)

# Edits share about five per five seconds and channel with sends.
CAPABILITIES = Capabilities(
    max_units=2000, unit="character", can_edit=True, min_edit_interval_s=1.2, deduplicates=True
)
# Longer waits come back to the writer, which gives up previews but never the final text.
LONGEST_RATE_LIMIT_S = 30.0
LANGUAGES: Mapping[Lang, discord.Locale] = {
    "zh-CN": discord.Locale.chinese,
    "zh-TW": discord.Locale.taiwan_chinese,
}
# What a person fills in after a command's name.
ARGUMENTS = ("persona", "review")
# Discord's own limits for a form.
LONGEST_LABEL, LONGEST_HINT, LONGEST_FIELD = 45, 100, 4000

Menu = Mapping[Lang, Sequence[tuple[str, str]]]


class Discord:
    """The port to Discord; every `run` is a new client."""

    def __init__(self, token: str, core: Core, *, menu: Menu) -> None:
        """``menu``: (command, description) for "en", "zh-CN" and "zh-TW"."""
        self._token = token
        self._core = core
        self._menu = menu
        self._client: _Client | None = None

    @property
    def name(self) -> PlatformName:
        return "discord"

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def run(self) -> None:
        """Stays connected until cancelled.

        Raises:
            PlatformRefused: the token is wrong, or the message content intent is off.
        """
        self._client = client = _Client(self._core, self._menu, port=self)
        try:
            async with client:
                await client.start(self._token)
        except discord.LoginFailure as error:
            raise PlatformRefused(
                "Discord refuses the token; set DISCORD_TOKEN to the one on the developer portal's Bot page."
            ) from error
        except discord.PrivilegedIntentsRequired as error:
            raise PlatformRefused(
                "Discord refuses the connection; switch on Message Content Intent on the Bot page of the "
                "developer portal."
            ) from error

    async def send(
        self,
        place: Place,
        text: str,
        *,
        nonce: str,
        reply_to: str | None = None,
        buttons: Sequence[Button] = (),
    ) -> str:
        channel = self._channel(place)
        options: dict[str, Any] = {}
        if reply_to is not None:
            options["reference"] = discord.MessageReference(
                message_id=int(reply_to), channel_id=channel.id, fail_if_not_exists=False
            )
        if buttons:
            options["view"] = _view(buttons)
        with _translated():
            # enforce_nonce comes with it: the same nonce answers with the message that is there already.
            message = await channel.send(text, nonce=nonce, **options)
        return str(message.id)

    async def edit(self, place: Place, message_id: str, text: str, *, buttons: Sequence[Button] = ()) -> None:
        view = _view(buttons) if buttons else None
        message = self._channel(place).get_partial_message(int(message_id))
        with _translated():
            await message.edit(content=text, view=view)

    async def typing(self, place: Place) -> None:
        with _translated():
            await self._channel(place).typing()

    async def acknowledge(self, press: Press, outcome: VoteOutcome) -> None:
        """Presses are answered in line; none comes this way."""
        raise PortError(
            f"Press {press.press_id} was answered in line, not told {len(outcome.text)} characters."
        )

    def _channel(self, place: Place) -> discord.PartialMessageable:
        if self._client is None:
            raise RetryLater(1.0)
        return self._client.get_partial_messageable(int(place.thread or place.chat))


class _Client(discord.Client):
    def __init__(self, core: Core, menu: Menu, *, port: Discord) -> None:
        intents = discord.Intents(guilds=True, messages=True, message_content=True)
        super().__init__(
            intents=intents,
            allowed_mentions=discord.AllowedMentions.none(),
            max_ratelimit_timeout=LONGEST_RATE_LIMIT_S,
            max_messages=None,
        )
        self.core = core
        self._port = port
        self._tree = app_commands.CommandTree(self)
        for name, description in menu["en"]:
            self._tree.add_command(_command(name, description))
        self._translator = _Menu(menu)

    async def setup_hook(self) -> None:
        self.add_dynamic_items(PressButton)
        await self._tree.set_translator(self._translator)
        await self._sync()
        self.core.attach(self._port)

    async def _sync(self) -> None:
        """Tells Discord the commands, only when they changed: it allows few such calls a day."""
        payload = [await self._payload(command) for command in self._tree.get_commands()]
        digest = hashlib.sha256(json.dumps(payload, sort_keys=True, default=str).encode()).hexdigest()
        name = f"commands:{self.application_id}"
        if await self.core.cursor("discord", name) == digest:
            return
        await self._tree.sync()
        await self.core.receive([], cursor=Cursor("discord", name, digest))

    async def _payload(self, command: Any) -> Any:
        return await command.get_translated_payload(self._tree, self._translator)

    async def on_ready(self) -> None:
        # Fires after every new session: nothing is set up here.
        _log.info("discord.ready", guilds=len(self.guilds))

    async def on_message(self, message: discord.Message) -> None:
        if self.user is None or message.author.id == self.user.id:
            return
        if message.type not in {discord.MessageType.default, discord.MessageType.reply}:
            return
        await self.core.receive([incoming_of(message, self.user)])

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Takes what was written into a form, also after a restart; all else has handlers of its own."""
        data: Any = interaction.data
        if interaction.type is not discord.InteractionType.modal_submit:
            return
        await interaction.response.defer(ephemeral=True)
        press = _press_of(interaction, data["custom_id"], text=_field_in(data["components"]))
        await _whisper(interaction, await self.core.press(press))

    async def on_error(self, event_method: str, /, *_args: Any, **_kwargs: Any) -> None:
        _log.exception("discord.handler_failed", handler=event_method)


class PressButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"(?P<data>(?:vote|why|consent|forget|review|gate):[\w:-]{1,90})",
):
    """Any button of ours; its id holds all there is to know, so it works on old messages after a restart."""

    def __init__(self, data: str, label: str | None = None) -> None:
        super().__init__(discord.ui.Button(label=label or "…", custom_id=data))
        self._data = data

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],  # noqa: ARG003 - the library's signature
        item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> Self:
        return cls(match["data"], getattr(item, "label", None))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        # First, because Discord waits three seconds at most; but a form is a first answer itself.
        if not self._data.endswith(":rewrite"):
            await interaction.response.defer(ephemeral=True)
        outcome = await interaction.client.core.press(_press_of(interaction, self._data))
        if outcome.ask is None:
            await _whisper(interaction, outcome)
        else:
            await interaction.response.send_modal(_form(outcome.ask, self.item.label or "…", outcome.text))


class _Menu(app_commands.Translator):
    """Descriptions of the commands in the languages that the menu has."""

    def __init__(self, menu: Menu) -> None:
        super().__init__()
        english = [description for _, description in menu["en"]]
        self._words = {
            locale: dict(zip(english, (description for _, description in menu[language]), strict=True))
            for language, locale in LANGUAGES.items()
        }

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,  # noqa: ARG002 - the library's signature
    ) -> str | None:
        return self._words.get(locale, {}).get(string.message)


def _command(name: str, description: str) -> app_commands.Command[Any, ..., None]:
    async def bare(interaction: discord.Interaction[Any]) -> None:
        await _carry_out(interaction, name, "")

    async def with_name(interaction: discord.Interaction[Any], name_: str | None = None) -> None:
        await _carry_out(interaction, name, name_ or "")

    if name in ARGUMENTS:
        renamed = app_commands.rename(name_="name")(with_name)
        return app_commands.Command(name=name, description=description, callback=renamed)
    return app_commands.Command(name=name, description=description, callback=bare)


async def _carry_out(interaction: discord.Interaction[Any], name: str, argument: str) -> None:
    await interaction.response.defer(ephemeral=True)
    outcome = await interaction.client.core.command(
        Command(
            place=_place_of(interaction),
            message_id=str(interaction.id),
            user=str(interaction.user.id),
            name=name,
            argument=argument,
            is_direct=interaction.guild_id is None,
            lang_hint=str(interaction.locale),
            roles=_roles_of(interaction),
        )
    )
    await _whisper(interaction, outcome)


def _press_of(interaction: discord.Interaction[Any], data: str, *, text: str = "") -> Press:
    return Press(
        place=_place_of(interaction),
        press_id=str(interaction.id),
        user=str(interaction.user.id),
        data=data,
        text=text,
        is_direct=interaction.guild_id is None,
        lang_hint=str(interaction.locale),
        roles=_roles_of(interaction),
    )


def _roles_of(interaction: discord.Interaction[Any]) -> tuple[str, ...]:
    return tuple(str(role.id) for role in getattr(interaction.user, "roles", ()))


def _form(ask: Ask, title: str, hint: str) -> discord.ui.Modal:
    """A form with one field; its id holds all there is to know, as a button's does."""
    field: discord.ui.TextInput[Any] = discord.ui.TextInput(
        style=discord.TextStyle.paragraph,
        default=ask.text[:LONGEST_FIELD],
        max_length=LONGEST_FIELD,
        custom_id="text",
    )
    title = fit(title, LONGEST_LABEL)
    form = discord.ui.Modal(title=title, custom_id=ask.data)
    form.add_item(discord.ui.Label(text=title, description=fit(hint, LONGEST_HINT), component=field))
    return form


def _field_in(components: Sequence[Any]) -> str:
    """What was written into a form's only field."""
    return str(components[0]["component"]["value"])


async def _whisper(interaction: discord.Interaction[Any], outcome: VoteOutcome) -> None:
    """Tells it to the person alone."""
    options: dict[str, Any] = {"view": _view(outcome.buttons)} if outcome.buttons else {}
    *pieces, last = split(outcome.text, CAPABILITIES.max_units)
    try:
        if not interaction.response.is_done():
            await interaction.response.defer(ephemeral=True)
        for piece in pieces:
            await interaction.followup.send(piece.text, ephemeral=True)
        await interaction.followup.send(last.text, ephemeral=True, **options)
    except discord.HTTPException as error:
        # What was asked for is stored all the same.
        _log.warning("discord.answer_lost", reason=str(error))


def incoming_of(message: discord.Message, me: discord.abc.User) -> Incoming:
    """The message as the core reads it: mentions of the bot cut out, never counting @everyone."""
    text = re.sub(rf"<@!?{me.id}>", " ", message.content)
    named = text != message.content
    for role in message.role_mentions:
        if role.tags is not None and role.tags.bot_id == me.id:
            text, named = text.replace(role.mention, " "), True
    answered = message.reference.resolved if message.reference is not None else None
    replies_to_bot = isinstance(answered, discord.Message) and answered.author.id == me.id
    # A reply pings its author without naming anybody in the text.
    pinged = answered.author.id if isinstance(answered, discord.Message) else None
    others = any(user.id not in {me.id, pinged} for user in message.mentions)
    return Incoming(
        place=_place(message.channel, message.guild),
        message_id=str(message.id),
        user=str(message.author.id),
        user_name=message.author.display_name,
        text=text.strip(),
        is_direct=message.guild is None,
        mentions_bot=named,
        mentions_others=others,
        replies_to_bot=replies_to_bot,
        reply_to=str(message.reference.message_id) if message.reference is not None else None,
        is_bot=message.author.bot,
        sent_at=message.created_at.timestamp(),
    )


def _place(channel: Any, guild: discord.Guild | None) -> Place:
    thread = str(channel.id) if isinstance(channel, discord.Thread) else ""
    chat = str(channel.parent_id) if isinstance(channel, discord.Thread) else str(channel.id)
    return Place("discord", chat, thread, str(guild.id) if guild is not None else "")


def _place_of(interaction: discord.Interaction[Any]) -> Place:
    if isinstance(interaction.channel, discord.Thread):
        return _place(interaction.channel, interaction.guild)
    guild = str(interaction.guild_id) if interaction.guild_id is not None else ""
    return Place("discord", str(interaction.channel_id), "", guild)


def _view(buttons: Sequence[Button]) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(PressButton(button.data, button.label))
    return view


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """The library's errors as the port's."""
    try:
        yield
    except discord.RateLimited as error:
        raise RetryLater(error.retry_after) from error
    except discord.DiscordServerError as error:
        raise SendUnknown(str(error)) from error
    except discord.HTTPException as error:
        raise PortError(str(error)) from error
    except aiohttp.ClientConnectorError as error:
        raise RetryLater(1.0) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise SendUnknown(str(error)) from error
