"""Where a broker is, as text."""

from __future__ import annotations

import pytest

from epollo.address import BrokerAddress, hide_passwords, parse_broker
from epollo.errors import SettingError
from epollo.settings import Settings

RIGHT = {
    "nats://127.0.0.1:4222": (("nats://127.0.0.1:4222",), "epollo"),
    "nats://one": (("nats://one:4222",), "epollo"),
    "tls://one:1/": (("tls://one:1",), "epollo"),
    "nats://[::1]:5": (("nats://[::1]:5",), "epollo"),
    "nats://me:secret@one:5/chat": (("nats://me:secret@one:5",), "chat"),
    "nats://a, nats://b:2/my-chat_2": (("nats://a:4222", "nats://b:2"), "my-chat_2"),
}
WRONG = {
    "127.0.0.1:4222": "is not the URL of a broker; write nats://HOST:4222",
    "one": "is not the URL of a broker",
    "redis://one:6379": "is not the URL of a broker",
    "nats://": "is not the URL of a broker",
    "nats://:4222": "is not the URL of a broker",
    "nats://one:x": "is not the URL of a broker",
    "nats://one:99999": "is not the URL of a broker",
    "nats://one two": "is not the URL of a broker",
    "nats://one?x=1": "is not the URL of a broker",
    "nats://one/a.b": "the prefix 'a.b' is not letters, digits, - or _",
    "nats://one/a,nats://two": "only the last one may end with /PREFIX",
    "nats://one,": "'' is not the URL of a broker",
}


@pytest.mark.parametrize("text", RIGHT)
def test_a_broker_is_one_or_several_servers_and_a_prefix(text: str) -> None:
    assert parse_broker(text) == BrokerAddress(*RIGHT[text])


@pytest.mark.parametrize("text", WRONG)
def test_what_is_none_is_one_line(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings(broker=text)
    assert str(caught.value).startswith("broker: ")
    assert WRONG[text] in str(caught.value)
    assert "\n" not in str(caught.value)


HIDDEN = {
    "nats://me:secret@one:4222": "nats://me:***@one:4222",
    "nats://me:secret@one, tls://you:secret@two/chat": "nats://me:***@one, tls://you:***@two/chat",
    "nats://one,nats://me:sec:ret@two": "nats://one,nats://me:***@two",
    "nats://secret@one": "nats://***@one",  # a token
    "nats://me:se@cret@one": "nats://me:***@one",
    "nats://me:se,cret@one": "nats://me:***@one",
    "nats://me:se/cret//@one": "nats://me:***@one",
    "me:secret//@one": "me:***@one",
    "nats://one:4222,nats://two": "nats://one:4222,nats://two",
    "": "",
}


@pytest.mark.parametrize("text", HIDDEN)
def test_a_password_is_hidden(text: str) -> None:
    assert hide_passwords(text) == HIDDEN[text]


@pytest.mark.parametrize(
    "text",
    [
        "nats://me:secret@one:x",
        "nats://me:secret,secret@one",
        "nats://me:1/secret@one",
        "nats://me:1?secret@one",
        "nats://me:1#secret@one",
        "nats://me:secret@one/a.b",
        "nats://two,nats://me:secret@one two",
        "me:secret@one",
    ],
)
def test_no_error_shows_a_password(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings(broker=text)
    assert "secret" not in str(caught.value)


def test_an_object_of_another_type_is_not_shown() -> None:
    with pytest.raises(SettingError, match="broker: a list is not a URL") as caught:
        Settings(broker=["nats://me:secret@one"])  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_settings_as_text_have_no_broker() -> None:
    assert "secret" not in repr(Settings(broker="nats://me:secret@one"))


@pytest.mark.parametrize("text", ["nats://me:***@one", "nats://***@one"])
def test_what_stands_for_a_password_is_none(text: str) -> None:
    with pytest.raises(SettingError, match="stands for a password that was not shown; write it"):
        Settings(broker=text)
