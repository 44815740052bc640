"""The params as Airflow checks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from airflow_provider_tenable._compat import Param
from airflow_provider_tenable.run import form

FORMS = (
    form.import_params,
    form.compliance_params,
    form.was_params,
    form.scan_params,
    form.scanner_params,
    form.replay_params,
    form.audit_params,
    form.aws_audit_params,
)


@pytest.mark.parametrize("params", FORMS, ids=lambda each: each.__name__)
def test_airflow_does_not_check_any_schema_by_the_slow_metaschema(
    params: Callable[[], Mapping[str, Param]], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[object] = []
    monkeypatch.setattr(Draft202012Validator, "check_schema", lambda *_: pytest.fail("slow"))
    monkeypatch.setattr(Draft7Validator, "check_schema", checked.append)
    made = params()
    for param in made.values():
        param.resolve()
    assert len(checked) >= len(made) >= 3


@pytest.mark.parametrize("params", FORMS, ids=lambda each: each.__name__)
def test_every_schema_is_one_of_that_version(params: Callable[[], Mapping[str, Param]]) -> None:
    for name, param in params().items():
        Draft7Validator.check_schema(param.schema)
        # Both versions read it alike, so that none of its words is of the other.
        newer = {key: value for key, value in param.schema.items() if key != "$schema"}
        Draft202012Validator.check_schema(newer)
        assert Draft202012Validator(newer).is_valid(param.value), name
