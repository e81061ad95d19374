"""Settings: one place, unknown keys refused, secrets never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.errors import SettingsWrong
from bot.settings import Settings, load_settings


def test_defaults_need_no_file_and_no_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_settings({}) == Settings()


def test_environment_wins_over_the_file(tmp_path):
    file = tmp_path / "troupe.toml"
    file.write_text('web_port = 9000\nbase = "a"\n')
    settings = load_settings({"TROUPE_CONFIG": str(file), "TROUPE_BASE": "b"})
    assert (settings.web_port, settings.base) == (9000, "b")


def test_an_unknown_key_in_the_file_is_named_with_the_near_one(tmp_path):
    file = tmp_path / "troupe.toml"
    file.write_text("web_prot = 1\n")
    with pytest.raises(SettingsWrong, match=r"web_prot.*did you mean web_port"):
        load_settings({}, config=file)


def test_an_unknown_key_in_the_environment_is_named():
    with pytest.raises(SettingsWrong, match="TROUPE_QUANTISE"):
        load_settings({"TROUPE_QUANTISE": "nf4"})


def test_other_programs_variables_are_nobodys_business():
    assert load_settings({"SHELL": "/bin/sh", "XDG_HOME": "x"}) == Settings()


def test_a_secret_file_wins_and_the_secret_never_shows(tmp_path):
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    settings = load_settings({"DISCORD_TOKEN": "other", "DISCORD_TOKEN_FILE": str(secret)})
    assert settings.discord_token is not None
    assert settings.discord_token.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)
    assert settings.secrets == ("s3cret",)


def test_a_missing_secret_file_is_one_sentence():
    with pytest.raises(SettingsWrong, match="TELEGRAM_TOKEN_FILE names /nowhere"):
        load_settings({"TELEGRAM_TOKEN_FILE": "/nowhere"})


def test_an_empty_secret_is_one_that_is_not_set(tmp_path):
    """Guards: empty token files, which compose needs, ended the bot, and let in workers without a secret."""
    empty = tmp_path / "empty"
    empty.write_text("\n")
    config = tmp_path / "troupe.toml"
    config.write_text('telegram_token = ""\n')
    files = {"DISCORD_TOKEN_FILE": str(empty), "TROUPE_WORKER_SECRET_FILE": str(empty)}
    settings = load_settings({"DISCORD_TOKEN": "", **files}, config=config)
    assert (settings.discord_token, settings.telegram_token, settings.worker_secret) == (None, None, None)
    assert settings.secrets == ()


def test_an_empty_secret_file_leaves_the_variable_as_it_is(tmp_path):
    (tmp_path / "empty").touch()
    environment = {"DISCORD_TOKEN_FILE": str(tmp_path / "empty"), "DISCORD_TOKEN": "s3cret"}
    for variables in (environment, dict(reversed(environment.items()))):
        settings = load_settings(variables)
        assert settings.discord_token is not None
        assert settings.discord_token.get_secret_value() == "s3cret"


def test_a_value_of_the_wrong_kind_names_the_setting():
    with pytest.raises(SettingsWrong, match="web_port"):
        load_settings({"TROUPE_WEB_PORT": "many"})


def test_several_engines_come_as_a_list():
    settings = load_settings({"TROUPE_ENGINE_URLS": "http://a:1,http://b:2"})
    assert settings.engine_urls == ("http://a:1", "http://b:2")


def test_moderators_are_people_and_roles_by_platform():
    settings = load_settings({"TROUPE_MODERATORS": "discord:12, discord-role:99,telegram:7"})
    assert settings.moderators == ("discord:12", "discord-role:99", "telegram:7")
    with pytest.raises(SettingsWrong, match="'ann' names nobody; write discord:ID"):
        load_settings({"TROUPE_MODERATORS": "ann"})


def test_a_named_file_must_exist():
    with pytest.raises(SettingsWrong, match="no settings file"):
        load_settings({"TROUPE_CONFIG": "/nowhere/troupe.toml"})


def test_home_is_a_path():
    assert load_settings({"TROUPE_HOME": "/srv/troupe"}).home == Path("/srv/troupe")
