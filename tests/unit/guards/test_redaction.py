"""Secrets are found by their value, in texts, bodies and log records."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import logging
import re
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards import log_guard, redaction
from airflow_provider_tenable.guards.encodings import literal_forms
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.redaction import MASK, remember, scrub

KEY = "0f3a9c71b8e54a06d2e1f4c8a7b6d5e4"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(redaction, "_in_texts", redaction._Known())
    monkeypatch.setattr(redaction, "_in_bodies", redaction._Known())
    monkeypatch.setattr(redaction, "_in_large_bodies", ())


ENCODINGS = {
    "as it is": lambda text: text,
    "percent": lambda text: quote(text, safe=""),
    "percent, all of it": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "json": lambda text: json.dumps(text)[1:-1],
    "json with slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "unicode escapes": lambda text: "".join(f"\\u{ord(char):04X}" for char in text),
    "hex escapes": lambda text: "".join(f"\\x{ord(char):02x}" for char in text),
    "html": html.escape,
    "entities": lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    "upper case": str.upper,
}
#: What a key may be made of: whatever the header can carry, and tenable_connection lets through.
keys = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=";"), min_size=12, max_size=64)


@settings(max_examples=200, deadline=None)
@example("000\\/000000'", ["html"], "", "")
@example("12%41%25341234'", ["html", "percent"], "", "")
@given(
    keys,
    st.lists(st.sampled_from(sorted(ENCODINGS)), min_size=1, max_size=3),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_a_secret_is_found_behind_any_three_encodings(key, encodings, before, after):
    redaction._in_texts = redaction._Known()
    remember(key)
    text = key
    for encoding in encodings:
        text = ENCODINGS[encoding](text)
    found = scrub(f"{before} {text} {after}")
    assert MASK in found
    assert text not in found


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(max_codepoint=0x7E, min_codepoint=0x20), max_size=50),
    st.text(st.characters(max_codepoint=0x7E, min_codepoint=0x20), max_size=50),
)
def test_a_secret_is_found_in_base64_of_any_text_around_it(before, after):
    redaction._in_texts = redaction._Known()
    remember(KEY)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found = scrub(f"Authorization: {encode((before + KEY + after).encode()).decode()}")
        assert MASK in found
        for start in range(4):
            run = found.removeprefix("Authorization: ").partition(MASK)[0][start:]
            decoded = base64.urlsafe_b64decode(run[: len(run) // 4 * 4].translate(str.maketrans("+/", "-_")))
            assert KEY[:4].encode() not in decoded


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
@example("&apo\u017f; &#1\u0661; %\uff11\uff12 \\u\uff11\uff12\uff13\uff14 &#x110000; &#999999;")
def test_a_text_without_secrets_stays_as_it_is(text):
    redaction._in_texts = redaction._Known()
    remember(KEY)
    assert scrub(text) == text


def test_before_anything_is_known_texts_stay_as_they_are():
    assert scrub(f"key {KEY} %41") == f"key {KEY} %41"
    assert redaction.scrub_bytes(KEY.encode()) == KEY.encode()


@pytest.mark.parametrize("text", [None, "", "a", "1234"])
def test_what_is_too_short_is_no_secret(text):
    remember(text)
    assert scrub("a 1234 b") == "a 1234 b"


def test_what_overlaps_is_masked_once():
    remember("abcdefgh12", "12zyxwvut", "cdefg")
    assert scrub("<abcdefgh12zyxwvut> <cdefg> <ABCDEFGH12>") == "<***> <***> <***>"


@pytest.mark.parametrize("length", range(len(KEY) + 1))
def test_a_secret_that_is_cut_off_with_the_text_is_masked(length):
    remember(KEY)
    assert scrub(f"key {KEY[:length]}") == ("key ***" if length >= 12 else f"key {KEY[:length]}")
    assert scrub(f"key {KEY[:20]} and more") == f"key {KEY[:20]} and more"


def test_all_that_is_quoted_goes_without_secrets():
    remember(KEY)
    assert safe(f"one {KEY}") == "one ***"
    assert safe(f"one {quote(KEY)} {KEY} {'x' * 5_000}", 20) == "one *** *** " + "x" * 7 + "…"
    assert str(ConfigurationError(f"Tenable answers {KEY}.")) == "Tenable answers ***."
    assert safe("x" * 40 + KEY, 50) == "x" * 40 + "***"


def test_what_came_before_an_error_of_a_body_comes_before_the_error():
    remember(KEY, in_bodies=True)

    def source():
        yield b"some " + KEY.encode()
        raise OSError("broken off")

    pieces = redaction.scrub_pieces(source())
    assert next(pieces) == b"some ***"
    with pytest.raises(OSError, match="broken off"):
        next(pieces)


def test_what_came_of_a_large_body_before_an_error_comes_before_the_error_except_for_what_may_begin_a_secret():
    remember(KEY, in_bodies=True)
    filling = b"some data " * redaction.SMALL_BODY_BYTES

    def source():
        yield filling
        yield filling + KEY[:-1].encode()
        raise OSError("broken off")

    found = []
    with pytest.raises(OSError, match="broken off"):
        found.extend(redaction.scrub_pieces(source()))
    data = b"".join(found)
    assert (filling + filling).startswith(data)
    assert len(data) > 2 * len(filling) - 200


FORMS = sorted(literal_forms(KEY), key=len)


@given(
    st.lists(st.sampled_from([*FORMS, FORMS[-1][:30], FORMS[-1][30:], b"some data", b"x"]), max_size=12),
    st.lists(st.integers(1, 90), max_size=12),
)
@example([FORMS[-1], b"x" * 90], [1])
@example([FORMS[-1], b"x" * 90], [len(FORMS[-1]) - 1])
@example([b"x" * 90, FORMS[-1], b"x" * 90], [91])
@example([b"x" * 90, FORMS[-1], b"x" * 90], [90 + len(FORMS[-1]) - 1])
def test_a_large_body_in_pieces_of_any_size_has_none_of_the_secrets(words, sizes):
    remember(KEY, in_bodies=True)
    filling = b"z" * (redaction.SMALL_BODY_BYTES + 1)
    body = b"".join(words)
    pieces, begin = [filling], 0
    for size in (*sizes, len(body)):
        pieces.append(body[begin : begin + size])
        begin += size
    for form in reversed(FORMS):
        body = body.replace(form, b"***")
    assert b"".join(redaction.scrub_pieces(pieces)) == filling + body


def test_a_large_body_without_secrets_is_not_copied():
    remember(KEY, in_bodies=True)
    pieces = [bytes([number]) * 70_000 for number in range(4)]
    assert [id(piece) for piece in redaction.scrub_pieces(pieces)] == [id(piece) for piece in pieces]


# Log records.


@pytest.fixture
def records():
    factory, found = logging.getLogRecordFactory(), []
    log_guard.install()
    handler = logging.Handler()
    handler.emit = found.append
    logging.getLogger().addHandler(handler)
    remember(KEY)
    yield found
    logging.getLogger().removeHandler(handler)
    logging.setLogRecordFactory(factory)


LOGGERS = [
    "tenable",
    "tenable.errors.APIError",
    "restfly.session.X",
    "urllib3.connectionpool",
    "requests.sessions",
    "botocore.parsers",
    "airflow_provider_tenable.x",
]


@pytest.mark.parametrize("name", LOGGERS)
def test_records_of_every_library_that_sees_keys_are_cleaned(records, name):
    logging.getLogger(name).error("body=%s %s", KEY, {"X-ApiKeys": f"accessKey={KEY}\n\x1b[2J"})
    (record,) = records
    assert KEY not in record.getMessage()
    assert record.getMessage().startswith("body=*** {'X-ApiKeys': 'accessKey=***")
    assert record.getMessage().isprintable()


def test_lines_of_our_own_records_stay_lines(records):
    """The notifier's text has several."""
    logging.getLogger("airflow_provider_tenable.x").warning("one\n%s %s\x1b[2J", KEY, "\u2028")
    assert records[0].getMessage() == "one\n***  \\x1b[2J"


def test_records_of_others_are_left_alone(records):
    for name in ("root", "airflow.task", "tenablewords", "my.tenable"):
        logging.getLogger(name).error("two\nlines %s", "x")
    assert [record.args for record in records] == [("x",)] * 4


def test_an_exception_that_shows_a_secret_becomes_a_text_without(records):
    try:
        raise ValueError(f"unparsed data {KEY}")
    except ValueError:
        logging.getLogger("urllib3.connection").warning("Failed to parse headers", exc_info=True)
    (record,) = records
    shown = logging.Formatter().format(record)
    assert "ValueError: unparsed data ***" in shown
    assert "Traceback" in shown
    assert KEY not in shown
    assert record.getMessage() == "Failed to parse headers (ValueError: unparsed data ***)"


def test_an_exception_without_secrets_stays_one(records):
    error = ValueError("nothing to hide")
    logging.getLogger("airflow_provider_tenable.x").error("it failed", exc_info=error)
    assert records[0].exc_info[1] is error


def test_control_characters_in_an_exception_of_somebody_else_are_escaped(records):
    error = ValueError("before\x1b[2Jafter\u202e")
    logging.getLogger("airflow_provider_tenable.x").error("it failed", exc_info=error)
    shown = logging.Formatter().format(records[0])
    assert "ValueError: before\\x1b[2Jafter\\u202e" in shown
    assert all(line.isprintable() for line in shown.split("\n"))


def test_a_record_that_cannot_be_formatted_is_a_record_still(records):
    logging.getLogger("tenable.x").error("%d records of " + KEY, "many")  # noqa: G003
    assert records[0].getMessage() == "a message that cannot be formatted (TypeError): %d records of ***"


def test_a_body_of_megabytes_is_cut(records):
    logging.getLogger("tenable.errors.ServerError").error("body=%s", "x" * 5_000_000)
    assert len(records[0].getMessage()) == log_guard.LONGEST_RECORD


@pytest.mark.parametrize(
    "answer",
    [
        "<SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>",
        '{{"SecretAccessKey": "{}", "SessionToken":"{}"}}',
    ],
)
def test_credentials_that_sts_has_just_issued_are_not_logged(records, answer):
    """Nobody knows them before botocore logs the answer at DEBUG."""
    logging.getLogger("botocore.parsers").setLevel(logging.DEBUG)
    logging.getLogger("botocore.parsers").debug("Response body:\n%s", answer.format("new-secret/1", "new-token==2"))
    logging.getLogger("botocore.parsers").setLevel(logging.NOTSET)
    assert records[0].getMessage() == "Response body: " + answer.format("***", "***")


def test_it_is_installed_once_and_calls_the_factory_that_was_there(records):
    first = logging.getLogRecordFactory()
    log_guard.install()
    assert logging.getLogRecordFactory() is first
    calls = []
    logging.setLogRecordFactory(lambda *args, **kwargs: (calls.append(args), logging.LogRecord(*args, **kwargs))[1])
    log_guard.install()
    logging.getLogger("tenable.x").error("%s", KEY)
    assert calls[0][0] == "tenable.x"
    assert records[-1].getMessage() == "***"


def test_a_record_that_was_made_elsewhere_can_be_filled_in(records):
    made = logging.makeLogRecord({"name": "tenable.x", "msg": "one %s", "args": ("two",), "levelno": logging.ERROR})
    assert made.getMessage() == "one two"


def test_each_of_thousands_of_secrets_is_found_in_short_and_in_long_texts():
    many = [f"{number:04d}-{'abcdef' * 6}-{number}" for number in range(3000)]
    redaction.remember(*many)
    for secret in many[::300]:
        encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
        for text in (f"key {secret}", f"key {secret} " + "x" * 9_000, f"key {encoded}", f"cut off at {secret[:30]}"):
            assert secret[:30] not in redaction.scrub(text)
            assert redaction.MASK in redaction.scrub(text)


def test_few_of_thousands_of_secrets_are_looked_for(monkeypatch):
    """An import that assumes a role in thousands of accounts knows three secrets of each, and scrubs each log line."""
    redaction.remember(*(f"{number:04d}-{'abcdef' * 6}-{number}" for number in range(3000)))
    compared: list[int] = []
    end = redaction._end
    monkeypatch.setattr(redaction, "_end", lambda *args, **kwargs: compared.append(1) or end(*args, **kwargs))
    assert redaction.scrub("a text of some hundred characters, as they are logged " * 5).startswith("a text")
    assert compared == []


#: What the session tokens of STS begin with: protocol buffers in base64, whose first fields are always the same.
TOKEN_HEAD = "IQoJb3JpZ2luX2Vj"


def tokens(number):
    return [TOKEN_HEAD + hashlib.sha512(str(each).encode()).hexdigest() * 4 for each in range(number)]


class Counting(tuple):
    """Counts the entries that are compared with a text."""

    def __new__(cls, entries, read):
        made = super().__new__(cls, entries)
        made.read = read
        return made

    def __getitem__(self, at):
        self.read.append(at)
        return super().__getitem__(at)


def test_each_of_thousands_of_tokens_that_begin_alike_is_found_by_a_few_comparisons():
    many = tokens(3_000)
    remember(*many)
    read: list[object] = []
    for known in (redaction._in_texts.secrets, redaction._in_texts.base64):
        for head, (entries, longest) in known.items():
            known[head] = Counting(entries, read), longest
    stranger = TOKEN_HEAD + "A" * 500
    for token in many[::300]:
        encoded = base64.b64encode(token.encode()).decode().rstrip("=")
        for shown in (f"{token}.", quote(token.upper(), safe=""), encoded, token[:30]):
            read.clear()
            scrubbed = scrub(f"{stranger} {shown}")
            assert MASK in scrubbed
            assert scrubbed.startswith(f"{stranger} ")
            assert token[20:30] not in scrubbed
            # Without an order among them, thousands for each occurrence of what they begin with.
            assert len(read) < 150


#: Secrets, and texts of them, from few characters: many begin alike, contain each other, or are cut off.
_few = st.text(st.sampled_from("abA"), min_size=1, max_size=30)


@settings(max_examples=200, deadline=None)
@given(st.lists(_few.map("abaab".__add__), max_size=8), st.lists(_few | st.just("abaab") | st.just(" "), max_size=6))
@example(["abaabb", "abaabba"], ["abaabb"])
@example(["abaabab", "abaabaab"], ["abaabaaa"])
def test_secrets_that_begin_alike_are_masked_as_if_each_were_searched_for(secrets, pieces):
    redaction._in_texts = redaction._Known()
    remember(*secrets)
    text = "".join(pieces)
    assert re.sub(r"(?:\*\*\*)+", MASK, scrub(text)) == masked_one_by_one(text, secrets)


def masked_one_by_one(text, secrets):
    folded = text.lower()
    hidden = [0] * len(text)
    for secret in map(str.lower, secrets):
        for begin in range(len(text)):
            rest = folded[begin : begin + len(secret)]
            if rest == secret or (len(rest) >= 12 and secret.startswith(rest)):
                hidden[begin : begin + len(rest)] = [1] * len(rest)
    # Adjacent spans have a mask each, so that the number of masks is not compared.
    masked = "".join(MASK if hide else char for char, hide in zip(text, hidden, strict=True))
    return re.sub(r"(?:\*\*\*)+", MASK, masked)
