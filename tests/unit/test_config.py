"""The options of section [tenable]."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_tenable import config
from airflow_provider_tenable.config import OPTIONS, SECTION, dag_params, get, provider_config
from airflow_provider_tenable.exceptions import ConfigurationError

EXPECTED = {
    "staging_path": "",
    "schedule_hours": 24.0,
    "dag_params": "",
    "import_after_scans": "",
    "lag_seconds": 3600,
    "transform_shards": 8,
    "shard_records": 50_000,
    "num_assets": 100,
    "asset_chunk_size": 1000,
    "chunk_downloads": 1,
    "poll_interval_seconds": 30.0,
    "first_poll_seconds": 1.0,
    "scan_poll_interval_seconds": 60.0,
    "scan_timeout_hours": 12.0,
    "scan_export_timeout_minutes": 30.0,
    "export_timeout_hours": 12.0,
    "asset_lookups": 100,
    "parked_days": 7.0,
    "retention_days": 7.0,
    "rejected_retention_days": 30.0,
    "id_scheme": "port",
    "product": "tenable/vulnerability-management",
    "plugin_output": "excerpt",
    "enable_product": False,
}


def put(monkeypatch, name, value):
    monkeypatch.setenv(f"AIRFLOW__TENABLE__{name.upper()}", value)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_default_is_what_the_contract_says_and_of_its_own_type(name):
    value = get(name)
    assert value == EXPECTED[name]
    assert type(value) is type(EXPECTED[name])


@pytest.mark.parametrize("name", OPTIONS)
def test_no_default_could_keep_airflow_from_starting(name):
    """Airflow formats defaults as templates (braces) and interpolates them (percent signs)."""
    assert not set("{}%") & set(OPTIONS[name].default)


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_explains_itself(name):
    option = OPTIONS[name]
    assert option.type in {"string", "integer", "float", "boolean"}
    assert len(option.description) > 20


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("lag_seconds", "0", 0),
        ("lag_seconds", " 7200 ", 7200),
        ("schedule_hours", "0.25", 0.25),
        ("schedule_hours", "8784", 8784.0),
        *[("schedule_hours", text, 0.0) for text in ("0", "0.0", " 0 ")],
        ("num_assets", "50", 50),
        ("asset_chunk_size", "100", 100),
        ("poll_interval_seconds", "1", 1.0),
        ("transform_shards", "1", 1),
        ("staging_path", "s3://aws_default@bucket/x", "s3://aws_default@bucket/x"),
        *[("enable_product", text, True) for text in ("True", "true", "t", "1", "YES")],
        *[("enable_product", text, False) for text in ("False", "f", "0", "no")],
    ],
)
def test_an_option_is_read_from_the_environment(monkeypatch, name, text, value):
    put(monkeypatch, name, text)
    assert get(name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lag_seconds", "an hour"),
        ("lag_seconds", "1.5"),
        ("schedule_hours", "daily"),
        ("enable_product", "maybe"),
        ("enable_product", ""),
        ("num_assets", ""),
    ],
)
def test_a_value_of_another_type_is_named_with_where_to_set_it(monkeypatch, name, text):
    put(monkeypatch, name, text)
    with pytest.raises(
        ConfigurationError,
        match=rf"Option \[tenable\] {name} is '{text}', which is not of type \w+. "
        rf"Correct AIRFLOW__TENABLE__{name.upper()}",
    ):
        get(name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lag_seconds", "-1"),
        ("schedule_hours", "0.24"),
        ("transform_shards", "0"),
        ("shard_records", "0"),
        ("num_assets", "49"),
        ("asset_chunk_size", "99"),
        ("chunk_downloads", "0"),
        ("chunk_downloads", "11"),
        ("poll_interval_seconds", "0.9"),
        ("first_poll_seconds", "0.9"),
        ("export_timeout_hours", "0.009"),
        ("asset_lookups", "-1"),
        ("parked_days", "-0.1"),
        ("retention_days", "-0.1"),
        ("schedule_hours", "nan"),
        ("schedule_hours", "-1"),
        ("schedule_hours", "8785"),
        ("schedule_hours", "1e308"),
        ("parked_days", "nan"),
        ("retention_days", "inf"),
    ],
)
def test_a_value_out_of_bounds_is_refused(monkeypatch, name, text):
    put(monkeypatch, name, text)
    with pytest.raises(ConfigurationError, match=rf"Option \[tenable\] {name} is "):
        get(name)


def test_a_schedule_that_is_too_dense_is_refused_with_both_ways_out(monkeypatch):
    put(monkeypatch, "schedule_hours", "0.1")
    with pytest.raises(
        ConfigurationError, match=r"schedule_hours is 0\.1; the minimum is 0\.25, or 0 for no schedule\."
    ):
        get("schedule_hours")


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.type == "float"])
def test_no_number_is_so_large_that_a_date_made_of_it_fails(monkeypatch, name):
    """What a task makes of these are spans of seconds, and moments that far from now."""
    put(monkeypatch, name, "1e308")
    with pytest.raises(ConfigurationError, match=rf"Option \[tenable\] {name} is 1e308; the maximum is \d+\."):
        get(name)
    assert OPTIONS[name].maximum is not None
    put(monkeypatch, name, str(OPTIONS[name].maximum))
    largest = get(name) * (86400 if name.endswith("days") else 3600 if name.endswith("hours") else 60)
    datetime.now(UTC) + timedelta(seconds=largest)
    int(largest)


@pytest.mark.parametrize("text", ["", "full", "None", "Excerpt", "excerpt,none"])
def test_a_value_that_is_not_one_of_the_choices_is_refused_with_the_choices(monkeypatch, text):
    put(monkeypatch, "plugin_output", text)
    with pytest.raises(
        ConfigurationError, match=rf"Option \[tenable\] plugin_output is '{text}'; it must be one of excerpt, none\."
    ):
        get("plugin_output")


def test_every_option_is_read_somewhere():
    import pathlib

    package = pathlib.Path(config.__file__).parent
    sources = [path.read_text() for path in [*package.rglob("*.py"), *package.parent.joinpath("dags").glob("*.py")]]
    for name in OPTIONS:
        # A kind of record names the option of its chunk size.
        read = (f'config.get("{name}")', f'get("{name}")', f'size_option="{name}"')
        assert any(each in source for source in sources for each in read), name


def test_the_dags_own_defaults_are_json(monkeypatch):
    assert dag_params() == {}
    put(monkeypatch, "dag_params", '{"severities": ["low"]}')
    assert dag_params() == {"severities": ["low"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object such as"),
        ("5", "must be a JSON object"),
        ("null", "must be a JSON object"),
    ],
)
def test_defaults_that_are_no_object_are_refused(monkeypatch, text, words):
    put(monkeypatch, "dag_params", text)
    with pytest.raises(ConfigurationError, match=rf"Option \[tenable\] dag_params {words}"):
        dag_params()


def test_the_example_of_dag_params_is_one_that_works(monkeypatch):
    from airflow_provider_tenable.run.params import parse_settings
    from airflow_provider_tenable.transform.destinations import parse_destinations

    put(monkeypatch, "dag_params", OPTIONS["dag_params"].example)
    params = dag_params()
    parse_settings(params)
    parse_destinations(params["destinations"])


def test_airflow_is_told_of_every_option_with_the_default_that_we_use():
    options = provider_config()[SECTION]["options"]
    assert {name: option["default"] for name, option in options.items()} == {
        name: option.default for name, option in OPTIONS.items()
    }
    for option in options.values():
        assert set(option) == {"description", "version_added", "type", "example", "default"}
