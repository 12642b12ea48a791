"""The settings: what is documented, what counts, and which names are taken for typos."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.commands import masks
from app.core.config import Settings, load_settings, provenance
from app.core.errors import SettingsError
from app.core.misspelling import is_one_edit_apart

LETTERS = st.text("ABCDE_", min_size=1, max_size=12)


def test_the_environment_wins_over_a_file_and_a_file_over_library_env(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "library.env").write_text("PORT=1\nKEEPALIVE=1\nCURRENCY=USD\n")
    (tmp_path / "keepalive").write_text("2\n")
    monkeypatch.setenv("KEEPALIVE_FILE", "keepalive")
    monkeypatch.setenv("PORT", "3")
    settings = load_settings()
    assert (settings.port, settings.keepalive, settings.currency) == (3, 2, "USD")
    origins = provenance()
    assert [origins[name] for name in ("port", "keepalive", "currency", "host")] == [
        "environment", "file keepalive", "library.env", "default",
    ]  # fmt: skip


def test_an_empty_value_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("SECRET_KEY", "")
    assert load_settings() == Settings(_env_file=None)
    assert provenance()["port"] == "default"


@given(word=LETTERS, position=st.integers(0, 12), letter=st.sampled_from("ABCDEXYZ"))
def test_one_edit_is_one_edit(word: str, position: int, letter: str) -> None:
    at = position % len(word)
    inserted = word[:at] + letter + word[at:]
    deleted = word[:at] + word[at + 1 :]
    replaced = word[:at] + letter + word[at + 1 :]
    swapped = word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]
    for edited in (inserted, deleted, replaced, swapped):
        assert is_one_edit_apart(word, edited) == (word != edited), (word, edited)
        assert is_one_edit_apart(edited, word) == (word != edited), (word, edited)


@pytest.mark.parametrize(
    ("left", "right"), [("SECRET_KEY", "SECRET_KEY"), ("PORT", "PROTS"), ("ABCD", "DCBA"), ("AB", ""), ("ABC", "CAB")]
)
def test_more_or_less_than_one_edit_is_not_one(left: str, right: str) -> None:
    assert not is_one_edit_apart(left, right)


@pytest.mark.parametrize("name", ["PATH", "HOSTS", "PROT", "DEBUGS", "LOGNAME", "SECRET", "DATABASE_URLS_OF_OTHERS"])
def test_short_or_distant_names_are_nobodys_business(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "anything")
    load_settings(_env_file=None)


@pytest.mark.parametrize("name", ["DATABASEURL", "WEB_CONCURENCY", "ALOWED_HOSTS", "graceful_timeut", "LOG_FROMAT"])
def test_long_names_one_edit_away_are_taken_for_slips(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "anything")
    with pytest.raises(SettingsError, match=f"^{name} is set, but there is no such setting; did you mean "):
        load_settings(_env_file=None)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "true"),
        (("a", "b"), "a,b"),
        (SecretStr("anything"), "********"),
        (SecretStr("postgresql://u:p@h/d"), "postgresql://u:********@h/d"),
        (SecretStr("postgresql://u:p@@:/x@h/d"), "postgresql://u:********@h/d"),
        (SecretStr("postgresql://u@h/d?password=p&ssl=require"), "postgresql://u@h/d?password=********&ssl=require"),
        (SecretStr("sqlite:////var/library.db"), "sqlite:////var/library.db"),
        ("https://key:secret@collector.test/1", "https://key:********@collector.test/1"),
    ],
)
def test_what_is_shown_of_a_setting_holds_no_secret(value: Any, shown: str) -> None:
    assert masks.setting(value) == shown
