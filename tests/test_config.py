"""Options and arguments: checked once, at once; a bad one is told with its name and the cure."""

from __future__ import annotations

import copy
import math
import pickle
import ssl
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from http import HTTPStatus
from typing import Any, get_args, get_type_hints
from uuid import UUID

import pytest
import tenacity
from hypothesis import example, given
from hypothesis import strategies as st

from runware_ws import (
    Client,
    Config,
    ConfigurationError,
    ConnectionFailed,
    TextInference,
    Verdict,
)
from runware_ws.config import ConfigOptions, VerdictWord, check_url
from runware_ws.emulator import Emulator
from runware_ws.events import Closed

KEY = "Kq7xVw2ZpT9mLs4RdY8bNc3HgJ6fAe5U"
PASSWORD = "hunter2hunter2hunter2"
SESSION = "5d7c1a52-7a0c-4c39-9d3d-3d9b6f0c2a11"
NOWHERE = "ws://127.0.0.1:9/v1"


MESSAGES: list[Any] = [{"role": "user", "content": "hello"}]


async def _awaited(state: object) -> float:
    return 1.0


class _Awaited:
    async def __call__(self, state: object) -> float:
        return 1.0


_DURATIONS = [
    "open_timeout",
    "close_timeout",
    "ping_after",
    "ping_timeout",
    "busy_ping_after",
    "busy_ping_timeout",
    "keepalive",
    "backoff_cap",
    "retry_after_cap",
    "question_timeout",
    "question_backoff_cap",
    "poll_first",
    "journal_keep",
]
_COUNTS = [
    "max_in_flight",
    "max_in_flight_bytes",
    "max_frame_bytes",
    "max_posts",
    "batch_tasks",
    "batch_bytes",
    "question_window",
    "claim_limit",
    "claim_bytes",
    "event_buffer",
    "journal_bytes",
]
_NO_SECONDS: list[Any] = [math.inf, -math.inf, math.nan, 10**400, -1, True, "5", "inf", b"5", [5]]
_NO_COUNTS: list[Any] = [0, -1, 2.5, 2.0, math.inf, True, None, "5", 10**30]
_NO_CARRIERS: list[Any] = ["http", "SSE", "", None, True, []]
_NO_URLS: list[Any] = [
    5,
    False,
    b"https://host/v1",
    "",
    "host",
    "https://",
    "https://[",
    "https://host:99999",
    "https://host:x/",
    "https://host:0",
    "https://ho st/",
    "https://ho\nst/",
    "https://host/#part",
    "https://" + "a" * 64 + ".example",
    "https://a..example",
    "https://\udcff.example/",
    "ftp://x",
    "//host/v1",
]


def _two(first: object, second: object) -> float:
    return 1.0


_BAD: dict[str, list[Any]] = {
    **{key: [*_NO_SECONDS, 0, None] for key in _DURATIONS},
    **{key: [*_NO_SECONDS, None] for key in ["replay_grace", "resend_after", "usual_duration"]},
    "timeout": [*_NO_SECONDS, 0],
    **dict.fromkeys(_COUNTS, _NO_COUNTS),
    "backoff": [
        *(5, None, "x", lambda: 1.0, _two, tenacity.wait_random),
        *(_awaited, _Awaited(), partial(_awaited)),
    ],
    "resubmit": ["always", "Never", True, None, []],
    "http_url": [*_NO_URLS, True, "ws://host/v1", "http://host.example/v1"],
    "session_uuid": ["", "nonsense", 5, b"x", SESSION[:-1], SESSION + "0"],
    "close_codes": [
        *(None, 5, "terminal", [(4000, "terminal")]),
        *({code: "terminal"} for code in ("4000", True, -1, 65536, 4000.0, None)),
        *({4000: verdict} for verdict in ("TERMINAL", "", None, 5, "never")),
        {4000: []},
    ],
    "http_statuses": [
        *({code: "terminal"} for code in (0, 99, 1000, "404")),
        *({404: verdict} for verdict in ("no", None)),
    ],
    "allow_insecure": [1, 0, "yes", "false", None],
    "resend_early": [1, 0, "yes", "false", None],
    "flight_bytes": [bad for bad in _NO_COUNTS if bad is not None],
    "flight_folder": ["", "  ", "a\0b", 5, b"folder", True],
    "flight_content": [1, 0, "yes", "false", None],
    "ssl": [True, False, "x", ssl, ssl.SSLContext],
    "proxy": [
        *(1, *_NO_URLS, "http://host/path", "http://host?q"),
        *(f"http://{user}@host" for user in ("name", ":pw", "%ff:p", "a%3A:p", "a:%ff")),
    ],
    "user_agent": ["", " ", "a\r\nX-Evil: 1", "a\x00", "café", 5, b"x"],
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option in _BAD for value in _BAD[option]]
)
def test_a_bad_value_is_refused_at_once_by_its_name(option: str, value: Any) -> None:
    options: Any = {option: value}
    for make in (lambda: Config(**options), lambda: Client(NOWHERE, api_key=KEY, **options)):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert option in caught.value.message
        assert "must" in caught.value.message or "allow_insecure=True" in caught.value.message
        assert len(caught.value.message) < 400


def test_every_option_has_bad_values_here() -> None:
    assert set(_BAD) == {f.name for f in fields(Config)}


@pytest.mark.parametrize("url", [*_NO_URLS, "https://host/v1", "ws://host.example/v1", b"wss://x"])
def test_a_bad_url_of_a_client(url: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"^url must look like|would send the API key"):
        Client(url, api_key=KEY)
    if isinstance(url, str) and url and "\udcff" not in url:
        monkeypatch.setenv("RUNWARE_WS_URL", url)
        with pytest.raises(ConfigurationError, match=r"^RUNWARE_WS_URL "):
            Client(api_key=KEY)


@given(st.text() | st.text("ws:/[]@#?.%0123456789x\n ").map("ws://".__add__))
@example("ws://[")
@example("ws://[::1%25lo]:1/")
@example("ws://1/\ud800")
def test_a_text_is_a_url_or_a_configuration_error(text: str) -> None:
    try:
        url = check_url(text, allow_insecure=True)
    except ConfigurationError:
        return
    assert check_url(url, allow_insecure=True) == url
    assert url.startswith(("ws://", "wss://"))


# What messages do not tell


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("proxy", f"ftp://user:{PASSWORD}@host:1"),
        ("proxy", f"http://user:{PASSWORD}@host:99999"),
        ("proxy", f"http://user:{PASSWORD}@["),
        ("proxy", f"http://user:{PASSWORD}#@host"),
        ("proxy", f"http://user:{PASSWORD}?@host"),
        ("proxy", f"http://user:{PASSWORD}/x@host"),
        ("proxy", f"http://user:{PASSWORD}@x@host/path"),
        ("proxy", f"user:{PASSWORD}@host:3128"),
        ("proxy", f"http:/user:{PASSWORD}@host:3128"),
        ("proxy", f"http://{PASSWORD}@host"),
        ("proxy", f"http://user:{PASSWORD}@host/?{PASSWORD}"),
        ("proxy", ("user", PASSWORD)),
        ("proxy", f"http://user:{PASSWORD}@host".encode()),
        ("http_url", f"https://user:{PASSWORD}@host/v1"),
        ("http_url", f"http://host.example/v1?key={PASSWORD}"),
        ("url", f"ws://user:{PASSWORD}@["),
        ("url", f"ws://user:{PASSWORD}@host:x"),
        ("url", PASSWORD),
        ("user_agent", {"Authorization": PASSWORD}),
        ("user_agent", PASSWORD.encode()),
        ("resubmit", PASSWORD),
        ("config", {"api_key": PASSWORD}),
        ("dial", PASSWORD),
    ],
)
def test_no_message_quotes_a_secret(option: str, value: Any) -> None:
    given: Any = {"url": NOWHERE, option: value}
    with pytest.raises(ConfigurationError, match=option) as caught:
        Client(api_key=KEY, **given)
    error: BaseException | None = caught.value
    while error is not None:
        assert PASSWORD not in repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_the_password_of_a_proxy_is_not_in_the_repr() -> None:
    proxy = f"http://user:{PASSWORD}@host:3128"
    config = Config(proxy=proxy)
    assert config.proxy == proxy
    assert PASSWORD not in repr(config)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("timeout", math.inf, "more than 0, or None for no limit, not inf"),
        ("proxy", 5, "(no proxy) or a URL like 'http://proxy.example:3128', not 5"),
        ("http_url", "ftp://x", "must look like 'https://api.runware.ai/v1', not 'ftp://x'"),
        ("max_in_flight", 2.5, "a whole number, 1 or more, not 2.5"),
        ("session_uuid", "nonsense", "a UUID, as text or uuid.UUID, or None, not 'nonsense'"),
        ("close_codes", {4000: "terminate"}, "'too-big', 'terminal', not 'terminate'"),
        ("close_codes", {"4000": "terminal"}, "a key of close_codes must be a number in 0-65535"),
        ("proxy", f"ftp://me:{PASSWORD}@host?x", "not 'ftp://[redacted]@host?[redacted]'"),
    ],
)
def test_the_message_names_the_value_and_the_cure(option: str, value: Any, said: str) -> None:
    options: Any = {option: value}
    with pytest.raises(ConfigurationError) as caught:
        Config(**options)
    assert said in str(caught.value)


def test_an_option_that_is_misspelt() -> None:
    options: Any = {"max_in_fligth": 5}
    with pytest.raises(ConfigurationError, match="did you mean 'max_in_flight'"):
        Client(NOWHERE, api_key=KEY, **options)
    with pytest.raises(ConfigurationError, match="known are: allow_insecure, backoff"):
        Client(NOWHERE, api_key=KEY, zzz=KEY)  # type: ignore[call-arg]


# What is understood


@pytest.mark.parametrize(
    "given",
    [
        SESSION,
        UUID(SESSION),
        SESSION.replace("-", ""),
        f"{{{SESSION}}}",
        f"urn:uuid:{SESSION}",
    ],
)
def test_a_session_in_any_form_of_a_uuid(given: str | UUID) -> None:
    assert Config(session_uuid=given).session_uuid == SESSION


def test_a_session_in_the_usual_form_is_sent_back_letter_for_letter() -> None:
    assert Config(session_uuid=SESSION.upper()).session_uuid == SESSION.upper()


def test_verdicts_by_their_words() -> None:
    given: dict[int, Verdict | VerdictWord] = {4000: "terminal", 4001: Verdict.BACK_OFF}
    config = Config(close_codes=given, http_statuses={HTTPStatus.NOT_FOUND: "resume-later"})
    assert config.close_codes == {4000: Verdict.TERMINAL, 4001: Verdict.BACK_OFF}
    assert all(isinstance(verdict, Verdict) for verdict in config.close_codes.values())
    assert config.http_statuses == {404: Verdict.RESUME_LATER}
    given[4001] = "resume"
    assert config.close_codes[4001] is Verdict.BACK_OFF


def test_the_words_of_the_verdicts() -> None:
    assert get_args(VerdictWord) == tuple(verdict.value for verdict in Verdict)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("WSS://host", "wss://host"),
        ("wss://Host.Example:443/V1?Q", "wss://host.example:443/V1?Q"),
        ("WS://LOCALHOST:1/v1", "ws://localhost:1/v1"),
        ("wss://bücher.example/v1", "wss://bücher.example/v1"),
        ("wss://under_score.example/v1", "wss://under_score.example/v1"),
    ],
)
def test_urls_in_odd_letters(given: str, kept: str) -> None:
    assert f" {kept} " in repr(Client(given, api_key=KEY))


def test_urls_for_posting() -> None:
    assert Config(http_url="HTTPS://Api.Runware.AI/v1").http_url == "https://api.runware.ai/v1"
    assert Config(http_url="http://LOCALHOST:1").http_url == "http://localhost:1"
    far = Config(http_url="http://host.example/v1", allow_insecure=True)
    with pytest.raises(ConfigurationError, match="http_url"):
        replace(far, allow_insecure=False)


@pytest.mark.parametrize(
    "proxy",
    [
        "http://host",
        "http://user:p%40ss@host:3128/",
        "https://host",
        "socks5://h:1",
        "socks5h://h",
    ],
)
def test_proxies(proxy: str) -> None:
    assert Config(proxy=proxy).proxy == proxy
    assert Config(proxy=proxy.replace("http", "HTTP", 1)).proxy == proxy


def test_waits() -> None:
    waits: list[Callable[[Any], float]] = [
        tenacity.wait_fixed(1),
        tenacity.wait_random(0, 1) + tenacity.wait_fixed(1),
        lambda state: 1.0,
    ]
    for wait in waits:
        assert Config(backoff=wait).backoff is wait


def test_the_rest_is_kept_as_it_is() -> None:
    context = ssl.create_default_context()
    config = Config(
        timeout=None,
        resend_after=0,
        ssl=context,
        proxy=None,
        user_agent=" me/1.0 (x) ",
        ping_after=1,
    )
    assert (config.timeout, config.resend_after, config.ping_after) == (None, 0, 1)
    assert config.ssl is context
    assert config.proxy is None
    assert config.user_agent == "me/1.0 (x)"


def test_a_config_can_be_copied() -> None:
    config = Config(close_codes={4000: "terminal"}, session_uuid=UUID(SESSION))
    config = replace(config, backoff=tenacity.wait_fixed(1))
    assert copy.deepcopy(config).close_codes == config.close_codes
    assert pickle.loads(pickle.dumps(config)).session_uuid == SESSION


def test_the_types_of_the_options() -> None:
    """``Client`` and ``Config`` take what ``Config`` keeps, and what it makes that of."""
    kept, taken = get_type_hints(Config), get_type_hints(ConfigOptions)
    wider: dict[str, Any] = {
        "session_uuid": str | UUID | None,
        "close_codes": get_type_hints(_Wider)["table"],
        "http_statuses": get_type_hints(_Wider)["table"],
    }
    assert taken == {**kept, **wider}
    assert list(taken) == [f.name for f in fields(Config)]
    assert not ConfigOptions.__required_keys__


# In use


@pytest.mark.anyio
async def test_arguments_of_the_verbs() -> None:
    task = TextInference.prompt("hello")
    async with (
        Emulator(KEY) as emulator,
        Client(emulator.url, api_key=KEY, timeout=5) as client,
    ):
        for timeout in _NO_SECONDS:
            with pytest.raises(ConfigurationError, match="timeout"):
                await client.run(task, timeout=timeout)
            with pytest.raises(ConfigurationError, match="timeout"):
                await client.submit(task, timeout=timeout)
            with pytest.raises(ConfigurationError, match="timeout"):
                client.stream(task, timeout=timeout)
            with pytest.raises(ConfigurationError, match="timeout"):
                client.map([task], timeout=timeout)
            with pytest.raises(ConfigurationError, match="timeout"):
                await client.ready(timeout=timeout)
            with pytest.raises(ConfigurationError, match="timeout"):
                await client.drain(timeout=timeout)
            with pytest.raises(ConfigurationError, match="timeout"):
                await client.messages.create(max_tokens=1, messages=MESSAGES, timeout=timeout)
        for concurrency in _NO_COUNTS:
            with pytest.raises(ConfigurationError, match="concurrency"):
                client.map([task], concurrency=concurrency)
        for carrier in _NO_CARRIERS:
            with pytest.raises(ConfigurationError, match="carrier must be 'auto', 'socket' or"):
                client.stream(task, carrier=carrier)
        # A drain that was refused has not begun.
        assert (await client.run(task, timeout=5)).text
        assert client.stats().submitted == 1
        assert (await client.drain(timeout=0)).clean


@pytest.mark.anyio
async def test_tls_settings_do_not_hinder_a_plain_socket() -> None:
    context = ssl.create_default_context()
    async with (
        Emulator(KEY) as emulator,
        Client(emulator.url.replace("ws:", "WS:"), api_key=KEY, ssl=context, timeout=5) as client,
    ):
        assert (await client.run(TextInference.prompt("hello"))).text


@pytest.mark.anyio
async def test_a_verdict_by_its_word_counts() -> None:
    async with (
        Emulator(KEY) as emulator,
        Client(emulator.url, api_key=KEY, close_codes={4000: "terminal"}) as client,
    ):
        await client.run(TextInference.prompt("hello"), timeout=5)
        events = client.events()
        emulator.faults.cut(4000)
        told = [event async for event in events]
        assert isinstance(told[-1], Closed)
        with pytest.raises(ConnectionFailed, match="4000"):
            await client.run(TextInference.prompt("hello"), timeout=5)


class _Wider:
    table: Mapping[int, Verdict | VerdictWord]
