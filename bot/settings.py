"""What an operator can set: `troupe.toml`, the environment (`TROUPE_…`), secrets also as files.

Read once, by `bot.app`. Secret files named by `…_FILE` win over the environment, that over `troupe.toml`.
An unknown key, in the file or in the environment, is an error that names it.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from bot.errors import SettingsWrong
from bot.moderators import FORM
from training.schedule import Cron, QuietHours, time_zone

__all__ = ["SECRETS", "Settings", "load_settings"]

# Known under these names everywhere, so they carry no TROUPE_ prefix.
SECRETS = {"DISCORD_TOKEN": "discord_token", "TELEGRAM_TOKEN": "telegram_token"}
PREFIX = "TROUPE_"
# In the environment, with commas between.
LISTS = ("engine_urls", "moderators")
# Where moderators are told of runs; a group's number on Telegram begins with a minus.
CHANNEL = re.compile(r"discord:[0-9]+|telegram:-?[0-9]+")
# The path of the settings file itself.
CONFIG = "TROUPE_CONFIG"


def _none_if_empty(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


# Compose needs every secret's file to exist, so an empty one means that the secret is not set.
Secret = Annotated[SecretStr | None, BeforeValidator(_none_if_empty)]


def _moderator(value: str) -> str:
    name = value.strip()
    if not FORM.fullmatch(name):
        raise ValueError(f"{name!r} names nobody; write discord:ID, telegram:ID or discord-role:ID")
    return name


def _channel(value: str) -> str:
    name = value.strip()
    if not CHANNEL.fullmatch(name):
        raise ValueError(f"{name!r} names no channel; write discord:CHANNEL_ID or telegram:CHAT_ID")
    return name


def _schedule(value: str) -> str:
    return Cron(value.strip()).text


def _zone(value: str) -> str:
    return time_zone(value.strip()).key


def _hours(value: str) -> str:
    return QuietHours(value.strip()).text


Moderator = Annotated[str, AfterValidator(_moderator)]
Channel = Annotated[str, AfterValidator(_channel)]
Schedule = Annotated[str, AfterValidator(_schedule)]
Zone = Annotated[str, AfterValidator(_zone)]
Hours = Annotated[str, AfterValidator(_hours)]


class Settings(BaseModel):
    """Every setting with its default; secrets never show in repr."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path = Path("var")
    base: str = "starter"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    quantize: Literal["auto", "nf4", "int8", "none"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    engine_urls: tuple[str, ...] = ()
    engine_port: int = Field(default=8081, ge=0, le=65535)
    web_host: str = "127.0.0.1"
    web_port: int = Field(default=8080, ge=0, le=65535)
    default_persona: str = "harry_potter"
    discord_token: Secret = None
    telegram_token: Secret = None
    telegram_api_url: str | None = None
    worker_secret: Secret = None
    moderators: tuple[Moderator, ...] = ()
    moderators_channel: Annotated[Channel | None, BeforeValidator(_none_if_empty)] = None
    train_cron: Schedule = "0 4 * * mon"
    time_zone: Zone = "UTC"
    quiet_hours: Hours = ""
    train_policy: Literal["coexist", "pause", "external"] = "coexist"
    train_rows: int = Field(default=50, ge=1)
    gate: Literal["auto", "approve"] = "auto"
    canary_share: int = Field(default=10, ge=1, le=100)
    canary_hours: float = Field(default=24.0, gt=0, allow_inf_nan=False)
    canary_replies: int = Field(default=100, ge=1)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret values themselves, for the redacting log filter."""
        values = (self.discord_token, self.telegram_token, self.worker_secret)
        return tuple(value.get_secret_value() for value in values if value is not None)


def load_settings(environment: Mapping[str, str], *, config: Path | None = None) -> Settings:
    """Reads the settings.

    Raises:
        SettingsWrong: one sentence that names the key, or the file, and the remedy.
    """
    path = config or Path(environment.get(CONFIG, "troupe.toml"))
    values = _from_file(path, required=config is not None or CONFIG in environment)
    values |= _from_environment(environment)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingsWrong(f"The setting {name} is not valid: {reason}.") from None


def _from_file(path: Path, *, required: bool) -> dict[str, Any]:
    if not path.is_file():
        if required:
            raise SettingsWrong(f"There is no settings file {path}; create it or unset {CONFIG}.")
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsWrong(f"{path} is not valid TOML: {error}.") from error
    for name in values:
        if name not in Settings.model_fields:
            raise SettingsWrong(f"{path} has an unknown key {name!r}{_nearest(name)}; remove or correct it.")
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    files: dict[str, Any] = {}
    for variable, text in environment.items():
        name = _field(variable)
        if name is None or not text.strip():
            continue
        if variable.endswith("_FILE"):
            files[name] = _secret_file(variable, Path(text))
        else:
            values[name] = text.split(",") if name in LISTS else text
    return values | {name: secret for name, secret in files.items() if secret}


def _field(variable: str) -> str | None:
    """The setting that an environment variable means; None for somebody else's variable."""
    plain = variable.removesuffix("_FILE")
    if plain in SECRETS:
        return SECRETS[plain]
    # TROUPE_HOME and its like; the variables of the process's own start are not settings.
    if not variable.startswith(PREFIX) or variable == CONFIG:
        return None
    for candidate in (variable, plain):
        name = candidate.removeprefix(PREFIX).lower()
        if name in Settings.model_fields:
            return name
    name = plain.removeprefix(PREFIX).lower()
    raise SettingsWrong(
        f"The environment has an unknown key {variable}{_nearest(name)}; unset or correct it."
    )


def _secret_file(variable: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsWrong(f"{variable} names {path}, which cannot be read: {error}.") from error


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
