"""A secret shows itself nowhere."""

import copy
import json
import pickle

import pytest

from tokenmq.config import DatabaseSettings, Secret, Settings, TokenSettings

TEXT = "correct horse battery staple"


def test_reveal_gives_the_text() -> None:
    assert Secret(TEXT).reveal() == TEXT


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{!r:>40}".format,
        "{:>40}".format,
        lambda secret: f"{secret}",
    ],
    ids=["repr", "str", "format", "format-repr", "format-width", "f-string"],
)
def test_every_way_of_printing_shows_a_mask(show: object) -> None:
    assert TEXT not in show(Secret(TEXT))
    assert "********" in show(Secret(TEXT))


def test_the_mask_does_not_tell_the_length() -> None:
    assert str(Secret("a")) == str(Secret("a" * 100))


def test_v69_repr_of_settings_shows_no_secret() -> None:
    settings = Settings(
        database=DatabaseSettings(url=Secret(TEXT)), tokens=TokenSettings(signing_key_secret=Secret(TEXT))
    )
    assert TEXT not in repr(settings)


@pytest.mark.parametrize("write", [pickle.dumps, copy.copy, json.dumps], ids=["pickle", "copy", "json"])
def test_a_secret_is_not_written(write: object) -> None:
    with pytest.raises(TypeError):
        write(Secret(TEXT))


def test_equal_texts_are_equal_and_hash_alike() -> None:
    assert Secret(TEXT) == Secret(TEXT)
    assert hash(Secret(TEXT)) == hash(Secret(TEXT))
    assert Secret(TEXT) != Secret("other")
    assert Secret(TEXT) != TEXT


def test_only_an_empty_secret_is_false() -> None:
    assert Secret(TEXT)
    assert not Secret("")
