"""Whatever repeats the keys in an answer, in whatever form and place: no log line, error or result of ours shows
them.
"""

from __future__ import annotations

import json
import logging
import socket
import traceback

import pytest
from tenable.errors import APIError

from airflow_provider_tenable.exceptions import TenableProviderError
from airflow_provider_tenable.guards import log_guard, redaction
from airflow_provider_tenable.hooks.tenable import TenableHook
from sandbox.repeating import FORMS, PLACES, one_line
from tests.faults.canary import repeats
from tests.local_server import ACCESS, SECRET

JOB = "1d896500-2f92-467c-aa4d-6fe8d007b127"
STATUSES = [200, 400, 401, 403, 404, 409, 429, 500, 503]
CALLS = {
    "start": lambda api: api.start("vulnerabilities", {"num_assets": 50, "filters": {}}),
    "status": lambda api: api.status("vulnerabilities", JOB),
    "chunk": lambda api: api.chunk("vulnerabilities", JOB, 1),
    "cancel": lambda api: api.cancel("vulnerabilities", JOB),
    "jobs": lambda api: api.jobs("vulnerabilities"),
    "who_am_i": lambda api: api.who_am_i(),
    "asset": lambda api: api.asset(JOB),
}


class Everything(logging.Handler):
    """All records of all loggers at DEBUG, as a formatter shows them, exceptions included."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.shown: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record):
        self.shown.append(self.format(record))


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(redaction, "_in_texts", redaction._Known())
    monkeypatch.setattr(redaction, "_in_bodies", redaction._Known())
    monkeypatch.setattr(redaction, "_in_large_bodies", ())


@pytest.fixture
def log(monkeypatch):
    factory, root, handler = logging.getLogRecordFactory(), logging.getLogger(), Everything()
    names = ["", "tenable", "restfly", "urllib3", "requests", "airflow_provider_tenable"]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    # Alone: Airflow's own handlers would take most of the time.
    monkeypatch.setattr(root, "handlers", [handler])
    yield handler.shown
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.setLogRecordFactory(factory)


def header_of(handler):
    return next(value for name, value in handler.headers.items() if name.lower() == "x-apikeys")


def repeating(status, form, place):
    def answer(handler):
        text = FORMS[form](header_of(handler))
        body, reason, headers = b'{"error": "refused"}', "Refused", {"Content-Type": "application/json"}
        if place == "body":
            body = text.encode()
            headers["Content-Type"] = "text/html" if "html" in form else "application/json"
        elif place == "reason":
            reason = one_line(text)
        elif place == "location":
            headers["Location"] = f"https://{one_line(text)}@login.example.com/?from={one_line(text)}"
        else:
            headers[{"retry-after": "Retry-After", "header": "X-Request"}[place]] = one_line(text)
        lines = [
            f"HTTP/1.1 {status} {reason}",
            *(f"{name}: {value}" for name, value in {**headers, "Content-Length": len(body)}.items()),
        ]
        # In one packet: the kernel would wait for the other side before it sends the second.
        handler.wfile.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    return answer


def connected(monkeypatch, url, *, access=ACCESS, secret=SECRET, **fields):
    connection = {"conn_type": "tenable", "host": url, "login": access, "password": secret, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_TENABLE_DEFAULT", json.dumps(connection))
    return TenableHook(retries=0)


def outcome(call):
    """What a caller sees: the result, or the error with all that a traceback prints."""
    try:
        return repr(call())
    except TenableProviderError as error:
        return f"{error!r} {error} {vars(error)} {''.join(traceback.format_exception(error))}"


def all_answers():
    for place in PLACES:
        for form in FORMS:
            for status in {"body": STATUSES, "location": [302]}.get(place, [429, 500]):
                yield status, form, place


@pytest.mark.parametrize("call", CALLS)
def test_no_answer_that_repeats_the_keys_brings_them_into_a_log_or_an_error(monkeypatch, server, log, call):
    hook = connected(monkeypatch, server.url)
    for status, form, place in all_answers():
        server.answers = [repeating(status, form, place)]
        log.clear()
        seen = outcome(lambda: CALLS[call](hook.api))
        assert "Traceback" in seen or seen.isprintable()
        assert not repeats("\n".join((seen, *log)), ACCESS, SECRET), (status, form, place)
        assert all(text.isprintable() for text in log), (status, form, place, log)
    hook.close()


def test_control_without_redaction_they_are_seen(monkeypatch, server, log):
    """The server does repeat them, and the log is looked at: with the masks off, most of these answers leak."""
    monkeypatch.setattr(redaction, "remember", lambda *_, **__: None)
    monkeypatch.setattr(log_guard, "install", lambda: None)
    hook = connected(monkeypatch, server.url)
    leaking = set()
    for status, form, place in all_answers():
        server.answers = [repeating(status, form, place)]
        log.clear()
        seen = outcome(lambda: hook.api.status("vulnerabilities", JOB))
        if repeats("\n".join((seen, *log)), ACCESS, SECRET):
            leaking.add((form, place))
    hook.close()
    assert {form for form, place in leaking if place == "body"} == set(FORMS)
    assert {"reason", "location", "body"} <= {place for _, place in leaking}


ODD_KEYS = ("aB3/+x=\"9'\\k7&<>%20~" * 2, "#?=/+0:'!\"" * 3)


@pytest.mark.parametrize("place", ["body", "reason", "header"])
def test_keys_of_any_characters_are_found(monkeypatch, server, log, place):
    """Tenable's have letters and digits only; what a key may have in a header is more."""
    access, secret = ODD_KEYS[0].replace(":", ""), ODD_KEYS[1].replace(":", "")
    hook = connected(monkeypatch, server.url, access=access, secret=secret)
    for form in FORMS:
        server.answers = [repeating(500, form, place)]
        log.clear()
        seen = outcome(lambda: hook.api.status("vulnerabilities", JOB))
        for text in (seen, *log):
            assert access not in text
            assert secret not in text
            assert access.replace("\\", "\\\\") not in text
    hook.close()


def test_keys_of_the_environment_are_found(monkeypatch, server, log):
    monkeypatch.setenv("TIO_ACCESS_KEY", ACCESS)
    monkeypatch.setenv("TIO_SECRET_KEY", SECRET)
    hook = connected(monkeypatch, server.url, access="", secret="")
    for form in FORMS:
        server.answers = [repeating(500, form, "body")]
        assert not repeats(outcome(lambda: hook.api.status("vulnerabilities", JOB)), ACCESS, SECRET)
    assert not repeats("\n".join(log), ACCESS, SECRET)
    hook.close()


def test_the_button_does_not_show_the_keys(monkeypatch, server, log):
    """Not as the user's name either, which a gateway chose."""
    for form in FORMS:
        for status in STATUSES:
            server.answers = [repeating(status, form, "body")]
            _, text = connected(monkeypatch, server.url).test_connection()
            assert not repeats(text, ACCESS, SECRET), (form, status)
            assert text.isprintable()
    server.answers = [
        (200, {}, json.dumps({"username": f"{SECRET}\n\x1b[31m" + "x" * 5_000}).encode()),
        (200, {}, b'{"exports": []}'),
    ]
    works, text = connected(monkeypatch, server.url).test_connection()
    assert works
    assert text.startswith("Connected to Tenable as *** \\x1b[31mxxx")
    assert len(text) < 250
    assert not repeats("\n".join(log), ACCESS, SECRET)


@pytest.mark.parametrize("form", FORMS)
def test_a_chunk_that_repeats_the_keys_has_none(monkeypatch, server, form):
    """It is staged, and what cannot be read of it goes to rejected/ as it is."""
    hook = connected(monkeypatch, server.url)
    server.answers = [repeating(200, form, "body")]
    seen = hook.api.chunk("vulnerabilities", JOB, 1).decode()
    assert not repeats(seen, ACCESS, SECRET)
    assert "***" in seen
    hook.close()


@pytest.mark.parametrize("form", ["header", "values", "json", "percent", "html", "base64", "base64-of-values", "chunk"])
def test_a_large_chunk_that_repeats_the_keys_has_none(monkeypatch, server, form):
    hook = connected(monkeypatch, server.url)
    filling = b"abcdefghijklmnop, " * 10_000

    def answer(handler):
        body = filling + FORMS[form](header_of(handler)).encode() + filling
        handler.send_response_only(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    server.answers = [answer]
    seen = hook.api.chunk("vulnerabilities", JOB, 1)
    assert seen.startswith(filling)
    assert seen.endswith(filling)
    assert not repeats(seen[len(filling) : -len(filling)].decode(), ACCESS, SECRET)
    hook.close()


@pytest.mark.parametrize("split", range(0, 140, 7))
def test_keys_that_begin_in_one_piece_of_a_body_and_end_in_the_next_are_found(split):
    redaction.remember(ACCESS, SECRET, in_bodies=True)
    for filling in (50, redaction.SMALL_BODY_BYTES):
        before, after = b"x" * filling, b"y" * filling
        body, cut = before + f"accessKey={ACCESS};secretKey={SECRET}".encode() + after, filling - 50 + split
        for size in (3, 64, 1_000):
            pieces = [body[:cut], *(body[start : start + size] for start in range(cut, len(body), size))]
            assert b"".join(redaction.scrub_pieces(pieces)) == before + b"accessKey=***;secretKey=***" + after


def test_a_body_without_keys_stays_as_it_is():
    redaction.remember(ACCESS, SECRET, in_bodies=True)
    for body in (b"", bytes(range(256)), bytes(range(256)) * 1_000):
        assert redaction.scrub_bytes(body) is body
        assert b"".join(redaction.scrub_pieces([body, b"", body])) == body + body
    assert b"".join(redaction.scrub_pieces([])) == b""


def test_bodies_are_not_searched_for_what_may_be_a_word():
    redaction.remember("password", "administrator", in_bodies=True)
    body = b'{"output": "the account administrator has the password admin"}'
    assert redaction.scrub_bytes(body) is body
    assert redaction.scrub(body.decode()) == '{"output": "the account *** has the *** admin"}'


def test_a_password_of_a_proxy_is_not_shown(monkeypatch, log):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    password = "canary%20Proxy/Passw0rd"
    proxies = {"http": f"http://canary-user:{password.replace('/', '%2F')}@127.0.0.1:{port}"}
    hook = connected(monkeypatch, "http://tenable.example.com", extra={"proxies": proxies, "allow_http": True})
    seen = outcome(hook.api.who_am_i)
    logging.getLogger("urllib3.connectionpool").warning("proxy %s", proxies)
    logging.getLogger("tenable.io").error("proxy http://canary-user:canary Proxy/Passw0rd@x")
    for text in (seen, *log):
        assert "Passw0rd" not in text
    assert any("proxy" in text for text in log)
    hook.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://user:canaryProxyPassword@[broken",
        "user:canaryProxyPassword@proxy:3128",
        "http://u:canaryProxyPassword@p@q:1",
    ],
)
def test_a_password_in_a_proxy_that_is_no_url_is_known_too(monkeypatch, log, url):
    _ = connected(monkeypatch, "https://cloud.tenable.com", extra={"proxies": {"https": url}}).connection_arguments
    assert "canaryProxyPassword" not in redaction.scrub(f"Failed to parse: {url}")


# Airflow's own masker.


def test_keys_and_proxy_passwords_are_registered_with_airflows_masker(monkeypatch):
    from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_2_PLUS

    secrets = ("Masker-access-key-01", "Masker-secret/key-02", "Masker-proxy-pass-03")
    _ = connected(
        monkeypatch,
        "https://cloud.tenable.com",
        access=secrets[0],
        secret=secrets[1],
        extra={"proxies": {"https": f"http://u:{secrets[2]}@p:1"}},
    ).connection_arguments
    if not AIRFLOW_V_3_0_PLUS:
        from airflow.utils.log.secrets_masker import redact
    elif AIRFLOW_V_3_2_PLUS:
        from airflow._shared.secrets_masker import redact as in_core
        from airflow.sdk._shared.secrets_masker import redact

        assert in_core(" ".join(secrets)) == "*** *** ***"
    else:
        from airflow.sdk.execution_time.secrets_masker import redact
    assert redact(" ".join(secrets)) == "*** *** ***"


def test_an_airflow_without_a_masker_does_not_keep_the_connection_from_being_used(monkeypatch):
    from airflow_provider_tenable.hooks import tenable_connection

    def broken(secret):
        raise RuntimeError("Logging Configuration Error! No SecretsMasker found!")

    monkeypatch.setattr(tenable_connection, "mask_secret", broken)
    assert connected(monkeypatch, "https://cloud.tenable.com").connection_arguments["access_key"] == ACCESS


@pytest.mark.parametrize("place", ["body", "reason", "retry-after", "header"])
@pytest.mark.parametrize("form", FORMS)
def test_pytenables_own_errors_and_answers_show_no_keys_to_callers_of_the_client(monkeypatch, server, form, place):
    """docs/operators.md offers the client to DAGs of one's own: what they catch, they log."""
    hook = connected(monkeypatch, server.url)
    server.answers = [repeating(400, form, place)]
    with pytest.raises(APIError) as failure:
        hook.get_conn().get("scans")
    response = failure.value.response
    seen = f"{failure.value} {failure.value!r} {response.text} {response.reason} {dict(response.headers)}"
    assert not repeats(seen, ACCESS, SECRET)
    server.answers = [repeating(200, form, "body")]
    assert not repeats(hook.get_conn().get("scans", box=False).text, ACCESS, SECRET)
    hook.close()
