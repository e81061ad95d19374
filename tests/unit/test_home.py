"""The run-time folder: a lock that dies with its holder, a secret for its owner alone."""

from __future__ import annotations

import stat

import pytest

from data.errors import DataError, StoreLocked
from data.home import Home, rater_hash, write_atomically


@pytest.fixture(name="home")
def _home(tmp_path):
    home = Home(tmp_path / "var")
    home.prepare()
    return home


def test_two_processes_cannot_own_one_store(home):
    with home.lock(), pytest.raises(StoreLocked), home.lock():
        pass
    with home.lock():
        pass


def test_the_secret_is_made_once_and_readable_by_its_owner_alone(home):
    first = home.secret()
    assert home.secret() == first
    assert stat.S_IMODE(home.secret_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700


def test_a_cut_secret_is_an_error_and_not_a_new_secret(home):
    home.secret_file.write_text("abcd")
    with pytest.raises(DataError, match="cut off"):
        home.secret()
    home.secret_file.write_text("no hex")
    with pytest.raises(DataError, match="cannot be read"):
        home.secret()


def test_a_rater_is_told_apart_by_platform_and_by_secret(home):
    secret = home.secret()
    assert rater_hash(secret, "discord", "7") == rater_hash(secret, "discord", "7")
    assert (
        len(
            {rater_hash(secret, p, "7") for p in ("discord", "telegram")} | {rater_hash(b"x", "discord", "7")}
        )
        == 3
    )


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "champions.json"
    write_atomically(path, "old")
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["champions.json"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "var").write_text("a file in the way")
    with pytest.raises(DataError, match="cannot be used"):
        Home(tmp_path / "var").prepare()
