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


def test_the_schedule_is_read_from_the_environment():
    settings = load_settings(
        {
            "TROUPE_TRAIN_CRON": "30 3 * * mon,thu",
            "TROUPE_TIME_ZONE": "Europe/Berlin",
            "TROUPE_QUIET_HOURS": "23:00-07:00",
            "TROUPE_MODERATORS_CHANNEL": "telegram:-1001234",
            "TROUPE_TRAIN_POLICY": "pause",
            "TROUPE_GATE": "approve",
            "TROUPE_CANARY_SHARE": "25",
        }
    )
    assert (settings.train_cron, settings.time_zone) == ("30 3 * * mon,thu", "Europe/Berlin")
    assert (settings.quiet_hours, settings.moderators_channel) == ("23:00-07:00", "telegram:-1001234")
    assert (settings.train_policy, settings.gate, settings.canary_share) == ("pause", "approve", 25)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("train_cron", "0 4 * * 1", "write mon, tue, wed"),
        ("train_cron", "weekly", 'write one like "0 4'),
        ("time_zone", "Berlin", "write UTC or a name like Europe/Berlin"),
        ("quiet_hours", "at night", "write them like 23:00-07:00"),
        ("moderators_channel", "#mods", "write discord:CHANNEL_ID or telegram:CHAT_ID"),
        ("moderators_channel", "discord:-5", "write discord:CHANNEL_ID or telegram:CHAT_ID"),
        ("train_policy", "later", "'coexist', 'pause' or 'external'"),
        ("gate", "none", "'auto' or 'approve'"),
        ("canary_share", "0", "greater than or equal to 1"),
        ("canary_share", "101", "less than or equal to 100"),
        ("canary_hours", "0", "greater than 0"),
        ("canary_hours", "inf", "finite"),
        ("canary_replies", "0", "greater than or equal to 1"),
        ("train_rows", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_schedule_names_the_setting_and_the_remedy(name, value, remedy):
    with pytest.raises(SettingsWrong) as caught:
        load_settings({f"TROUPE_{name.upper()}": value})
    sentence = str(caught.value)
    assert sentence.startswith(f"The setting {name} is not valid: ")
    assert remedy in sentence
    assert "\n" not in sentence


def test_no_channel_and_no_quiet_hours_may_be_written_as_empty(tmp_path):
    config = tmp_path / "troupe.toml"
    config.write_text('moderators_channel = ""\nquiet_hours = ""\n')
    settings = load_settings({}, config=config)
    assert (settings.moderators_channel, settings.quiet_hours) == (None, "")


def test_a_named_file_must_exist():
    with pytest.raises(SettingsWrong, match="no settings file"):
        load_settings({"TROUPE_CONFIG": "/nowhere/troupe.toml"})


def test_home_is_a_path():
    assert load_settings({"TROUPE_HOME": "/srv/troupe"}).home == Path("/srv/troupe")
