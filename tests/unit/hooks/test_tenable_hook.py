"""The connection: every field and form of it, the form itself, and the button that tests it."""

from __future__ import annotations

import json

import pytest

from airflow_provider_tenable import __version__
from airflow_provider_tenable._compat import AirflowNotFoundException, BaseHook
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.hooks.tenable import DEFAULT_URL, TenableHook, arguments_of, new_client
from airflow_provider_tenable.provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR, get_provider_info
from airflow_provider_tenable.tenable_vm.jobs import Job, JobStatus
from airflow_provider_tenable.tenable_vm.session import GuardedSession
from tests.local_server import ACCESS, SECRET

JOB = "1d896500-2f92-467c-aa4d-6fe8d007b127"


def connect(monkeypatch, value, conn_id="tenable_default"):
    """Set a connection the way people do: a URI or a JSON text in the environment."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", value if isinstance(value, str) else json.dumps(value))
    return TenableHook(conn_id)


def arguments(monkeypatch, value):
    return connect(monkeypatch, value).connection_arguments


def fields(**change):
    return {"conn_type": "tenable", "login": ACCESS, "password": SECRET, **change}


def test_a_connection_with_nothing_but_keys_has_every_default(monkeypatch):
    assert arguments(monkeypatch, fields()) == {
        "access_key": ACCESS,
        "secret_key": SECRET,
        "url": "https://cloud.tenable.com",
        "timeout": 120,
        "ssl_verify": True,
        "proxies": None,
    }


@pytest.mark.parametrize(
    ("change", "url"),
    [
        ({}, DEFAULT_URL),
        ({"host": ""}, DEFAULT_URL),
        ({"host": "  "}, DEFAULT_URL),
        ({"host": "https://fedcloud.tenable.com"}, "https://fedcloud.tenable.com"),
        ({"host": " https://fedcloud.tenable.com/ "}, "https://fedcloud.tenable.com"),
        ({"host": "fedcloud.tenable.com"}, "https://fedcloud.tenable.com"),
        ({"host": "HTTPS://Fedcloud.Tenable.COM"}, "https://fedcloud.tenable.com"),
        ({"host": "http://localhost:8080"}, "http://localhost:8080"),
        ({"host": "localhost:8080"}, "https://localhost:8080"),
        ({"host": "localhost", "port": 8080}, "https://localhost:8080"),
        ({"host": "localhost", "port": 8080, "schema": "http"}, "http://localhost:8080"),
        ({"host": "https://localhost:1", "port": 2}, "https://localhost:1"),
        ({"host": "https://localhost", "port": 2, "schema": "http"}, "https://localhost:2"),
        ({"host": "https://proxy.example.com/tenable/"}, "https://proxy.example.com/tenable"),
        ({"host": "https://[2001:db8::1]:8443"}, "https://[2001:db8::1]:8443"),
        ({"host": "[::1]"}, "https://[::1]"),
    ],
    ids=str,
)
def test_the_url_is_read_in_each_of_its_forms(monkeypatch, change, url):
    assert arguments(monkeypatch, fields(**change))["url"] == url


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        (f"tenable://{ACCESS}:{SECRET}@", DEFAULT_URL),
        (f"tenable://{ACCESS}:{SECRET}@fedcloud.tenable.com", "https://fedcloud.tenable.com"),
        (f"tenable://{ACCESS}:{SECRET}@localhost:8080/http", "http://localhost:8080"),
        (f"tenable://{ACCESS}:{SECRET}@https%3A%2F%2Ffedcloud.tenable.com", "https://fedcloud.tenable.com"),
        (f"tenable://{ACCESS}:{SECRET}@http%3A%2F%2Flocalhost%3A8080", "http://localhost:8080"),
    ],
)
def test_a_connection_may_be_a_uri(monkeypatch, uri, url):
    read = arguments(
        monkeypatch, uri + "?verify=false&timeout=7&proxies=%7B%22https%22%3A%22http%3A%2F%2Fp%3A3128%22%7D"
    )
    assert read == {
        "access_key": ACCESS,
        "secret_key": SECRET,
        "url": url,
        "timeout": 7,
        "ssl_verify": False,
        "proxies": {"https": "http://p:3128"},
    }


@pytest.mark.parametrize(
    "host",
    [
        "ftp://cloud.tenable.com",
        "https://",
        "https://user:pw@cloud.tenable.com",
        "https://cloud.tenable.com:port",
        "https://cloud.tenable.com:99999",
        "https://[::1",
        "::1",
        "not a host",
        "https://exa mple.com",
        "javascript:alert(1)",
        "/path",
        "https:///path",
        "https://a\\b",
        "file:///etc/passwd",
        "https://<script>",
    ],
)
def test_rubbish_is_no_url_and_the_message_says_what_is_one(monkeypatch, host):
    with pytest.raises(
        ConfigurationError,
        match=r"^The URL of connection 'tenable_default' is not a valid URL. Use one such as "
        r"https://cloud\.tenable\.com\.$",
    ):
        _ = connect(monkeypatch, fields(host=host)).connection_arguments


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"login": None}, "access key (login)"),
        ({"password": None}, "secret key (password)"),
        ({"login": "", "password": ""}, "access key (login)"),
        ({"login": " "}, "access key (login)"),
    ],
    ids=str,
)
def test_a_missing_key_is_named_with_where_to_put_it(monkeypatch, change, missing):
    with pytest.raises(ConfigurationError) as failure:
        _ = connect(monkeypatch, fields(**change)).connection_arguments
    text = str(failure.value)
    assert text.startswith(f"Connection 'tenable_default' has no {missing}. Enter both keys")
    assert "TIO_ACCESS_KEY and TIO_SECRET_KEY" in text
    assert SECRET not in text


def test_without_keys_in_the_connection_pytenables_variables_serve(monkeypatch):
    monkeypatch.setenv("TIO_ACCESS_KEY", "fromEnvironmentA")
    monkeypatch.setenv("TIO_SECRET_KEY", "fromEnvironmentS")
    read = arguments(monkeypatch, {"conn_type": "tenable"})
    assert (read["access_key"], read["secret_key"]) == ("fromEnvironmentA", "fromEnvironmentS")
    read = arguments(monkeypatch, fields())
    assert (read["access_key"], read["secret_key"]) == (ACCESS, SECRET)


def test_blanks_around_a_pasted_key_are_dropped(monkeypatch):
    read = arguments(monkeypatch, fields(login=f" {ACCESS}\n", password=f"{SECRET}\t"))
    assert (read["access_key"], read["secret_key"]) == (ACCESS, SECRET)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "semi;colon", "käse", "nul\0"])
@pytest.mark.parametrize("field", ["login", "password"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_quoted(monkeypatch, field, key):
    with pytest.raises(
        ConfigurationError,
        match="A key of connection 'tenable_default' contains blanks or characters that Tenable keys do not have",
    ) as failure:
        _ = connect(monkeypatch, fields(**{field: key})).connection_arguments
    assert key not in str(failure.value)


@pytest.mark.parametrize(
    ("value", "verify"),
    [
        (None, True),
        ("", True),
        (True, True),
        ("true", True),
        ("True", True),
        (" TRUE ", True),
        (False, False),
        ("false", False),
        ("FALSE", False),
        ("/etc/ca.pem", "/etc/ca.pem"),
    ],
)
def test_verify_is_true_false_or_a_bundle(monkeypatch, value, verify):
    assert arguments(monkeypatch, fields(extra={"verify": value}))["ssl_verify"] == verify


@pytest.mark.parametrize(("value", "seconds"), [(None, 120), ("", 120), (1, 1), ("1", 1), (3600, 3600), ("90", 90)])
def test_the_timeout_is_whole_seconds(monkeypatch, value, seconds):
    assert arguments(monkeypatch, fields(extra={"timeout": value}))["timeout"] == seconds


@pytest.mark.parametrize("value", [0, -1, 3601, "soon", "1.5", [], {}, float("inf"), float("nan")], ids=str)
def test_a_timeout_that_is_none_is_refused(monkeypatch, value):
    with pytest.raises(
        ConfigurationError,
        match="Extra 'timeout' of connection 'tenable_default' must be a whole number of seconds from 1 to 3600",
    ):
        _ = connect(monkeypatch, fields(extra={"timeout": value})).connection_arguments


@pytest.mark.parametrize("value", [None, "", {}])
def test_no_proxies_are_none(monkeypatch, value):
    assert arguments(monkeypatch, fields(extra={"proxies": value}))["proxies"] is None


@pytest.mark.parametrize("value", [{"https": "http://p:1"}, '{"https": "http://p:1"}'])
def test_proxies_are_an_object_or_its_json(monkeypatch, value):
    assert arguments(monkeypatch, fields(extra={"proxies": value}))["proxies"] == {"https": "http://p:1"}


@pytest.mark.parametrize(
    "value", ["http://user:canaryProxyPassword@p", "[]", ["x"], 5, {"https": 5}, {"https": None}, "{"], ids=str
)
def test_proxies_that_are_none_are_refused_and_not_quoted(monkeypatch, value):
    with pytest.raises(
        ConfigurationError,
        match="Extra 'proxies' of connection 'tenable_default' must be a JSON object of URLs by scheme",
    ) as failure:
        _ = connect(monkeypatch, fields(extra={"proxies": value})).connection_arguments
    assert "canaryProxyPassword" not in str(failure.value)


def test_arguments_can_be_read_of_any_connection_object():
    from types import SimpleNamespace

    bare = SimpleNamespace(login="a", password="s", host=None, schema=None, port=None, extra_dejson={})
    assert arguments_of(bare, "x")["url"] == DEFAULT_URL


# The client.


def test_the_client_has_the_guarded_session_our_user_agent_and_the_settings():
    client = new_client(
        {
            "access_key": ACCESS,
            "secret_key": SECRET,
            "url": "https://h.example.com",
            "timeout": 7,
            "ssl_verify": "/ca.pem",
            "proxies": {"https": "http://p:1"},
        },
        retries=2,
    )
    session = client._session
    assert isinstance(session, GuardedSession)
    assert (client._url, client._timeout, client._retries) == ("https://h.example.com", 7, 2)
    assert session.proxies == {"https": "http://p:1"}
    assert session.verify == "/ca.pem"
    agent = session.headers["User-Agent"]
    assert "airflow-provider-tenable" in agent
    assert __version__ in agent
    session.close()


def test_the_arguments_are_left_as_they_were():
    given = {
        "access_key": ACCESS,
        "secret_key": SECRET,
        "url": "https://h",
        "timeout": 7,
        "ssl_verify": True,
        "proxies": None,
    }
    before = dict(given)
    new_client(given, retries=0)._session.close()
    assert given == before


def test_a_hook_reads_nothing_before_it_is_used_and_shows_no_key(monkeypatch):
    hook = connect(monkeypatch, fields())
    monkeypatch.delenv("AIRFLOW_CONN_TENABLE_DEFAULT")
    assert "connection_arguments" not in vars(hook)
    hook = connect(monkeypatch, fields())
    _ = hook.connection_arguments
    assert hook.get_conn() is hook.get_conn()
    for shown in (repr(hook), str(hook), repr(hook.api), repr(hook.get_conn()), repr(hook.get_conn()._session)):
        assert ACCESS not in shown
        assert SECRET not in shown
    hook.close()


# Through the hook to a server.


def test_the_hooks_methods_reach_tenable(monkeypatch, server):
    hook = connect(monkeypatch, fields(host=server.url), "mine")
    server.answer(200, {"export_uuid": JOB, "status": "QUEUED", "exports": [{"uuid": JOB}]})
    assert hook.start_export("assets", {"chunk_size": 100}) == JOB
    assert hook.export_status("assets", JOB) == JobStatus("QUEUED")
    assert hook.export_jobs("assets") == [Job(JOB, "", None, None, None)]
    server.answer(200, b"[1]")
    assert hook.export_chunk("assets", JOB, 3) == b"[1]"
    hook.cancel_export("assets", JOB)
    assert [path for _, path, _, _ in server.requests] == [
        "/assets/v2/export",
        f"/assets/export/{JOB}/status",
        "/assets/export/status",
        f"/assets/export/{JOB}/chunks/3",
        f"/assets/export/{JOB}/cancel",
    ]
    hook.close()


def test_the_button_says_who_the_keys_belong_to(monkeypatch, server):
    server.answers = [(200, {}, b'{"username": "svc@example.com"}'), (200, {}, b'{"exports": []}')]
    assert connect(monkeypatch, fields(host=server.url)).test_connection() == (
        True,
        "Connected to Tenable as svc@example.com, who may export.",
    )
    assert [path for _, path, _, _ in server.requests] == ["/session", "/vulns/export/status"]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([(401, {}, b"{}")], "API keys of this connection are not valid"),
        ([(200, {}, b'{"username": "u"}'), (403, {}, b"{}")], "the right to export"),
        ([(503, {"Retry-After": "9999"}, b"")], "Tenable returned 503"),
        ([(200, {}, b"<html>")], "not JSON"),
        ([(302, {"Location": "https://evil.example.com/"}, b"")], "API keys are not sent there"),
    ],
    ids=str,
)
def test_the_button_says_what_is_wrong_and_does_not_wait(monkeypatch, server, answers, words, naps):
    server.answers = answers
    works, text = connect(monkeypatch, fields(host=server.url)).test_connection()
    assert not works
    assert words in text
    assert ACCESS not in text
    assert SECRET not in text
    assert len(server.requests) <= 2


def test_the_button_tells_a_wrong_field(monkeypatch):
    assert connect(monkeypatch, fields(host="ftp://x")).test_connection() == (
        False,
        "The URL of this connection is not a valid URL. Use one such as https://cloud.tenable.com.",
    )


def test_the_button_answers_even_to_a_bug_and_shows_no_more_than_its_class(monkeypatch):
    def broken(conn_id):
        raise RuntimeError(f"holds {SECRET}")

    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(broken))
    assert TenableHook().test_connection() == (False, "The connection does not work: RuntimeError.")


def test_a_connection_that_is_not_there_is_named_with_what_to_do(monkeypatch):
    def missing(conn_id):
        raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(missing))
    with pytest.raises(
        ConfigurationError,
        match=r"There is no connection with the id 'nowhere'\. Create it with type 'tenable', or correct the id",
    ):
        _ = TenableHook("nowhere").connection_arguments


# The form.


def test_the_form_of_old_airflow_is_made_of_the_same_table():
    behaviour = TenableHook.get_ui_field_behaviour()
    assert behaviour == {
        "hidden_fields": ["schema", "extra"],
        "relabeling": UI_FIELD_BEHAVIOUR["relabeling"],
        "placeholders": UI_FIELD_BEHAVIOUR["placeholders"],
    }
    assert behaviour["relabeling"] == {"host": "URL", "login": "Access key", "password": "Secret key"}


def test_the_widgets_of_old_airflow_are_made_of_the_same_table():
    pytest.importorskip("flask_appbuilder")
    pytest.importorskip("flask_babel")
    from werkzeug.datastructures import MultiDict
    from wtforms import Form

    widgets = TenableHook.get_connection_form_widgets()
    assert list(widgets) == list(CONN_FIELDS)

    def filled(**values):
        return type("ConnectionForm", (Form,), widgets)(MultiDict(values))

    shown = {field.name: (field.label.text, field.description) for field in filled()}
    assert shown == {name: (field["label"], field["description"]) for name, field in CONN_FIELDS.items()}
    assert filled().verify.default == "true"
    for bad in ("0", "3601", "soon"):
        form = filled(timeout=bad)
        assert not form.validate()
        assert list(form.errors) == ["timeout"]
    for good in ("", "1", "3600"):
        assert filled(timeout=good).validate()


def test_the_hook_and_the_providers_metadata_agree():
    (declared,) = get_provider_info()["connection-types"]
    assert declared["connection-type"] == TenableHook.conn_type == "tenable"
    assert declared["hook-name"] == TenableHook.hook_name
    assert declared["hook-class-name"] == f"{TenableHook.__module__}.{TenableHook.__qualname__}"
    assert (TenableHook.conn_name_attr, TenableHook.default_conn_name) == ("tenable_conn_id", "tenable_default")
    assert TenableHook().tenable_conn_id == "tenable_default"
