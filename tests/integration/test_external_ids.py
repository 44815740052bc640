"""The external id of a destination reaches STS from every step that signs in to its accounts: the checks before the
export, and the import.
"""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable.run import places
from airflow_provider_tenable.staging.files import read_json
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

EXTERNAL_ID = "tenable/import:1"


def require_external_id(sandbox: Sandbox, *accounts: str) -> None:
    for account in accounts:
        arn = f"arn:aws:iam::{account}:role/TenableSecurityHubImport"
        sandbox.aws("roles", {"arn": arn, "external_id": EXTERNAL_ID})


def with_external_id(defaults: dict[str, Any]) -> dict[str, Any]:
    (destination,) = defaults["destinations"]
    return {**defaults, "destinations": [{**destination, "external_id": EXTERNAL_ID}]}


@pytest.mark.parametrize("tasks", ["500", "1"], ids=["one_each", "one_group"])
def test_external_id_reaches_sts_from_every_import(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], tasks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__IMPORT_TASKS", tasks)
    require_external_id(sandbox, *sandbox.accounts)
    run = Run(defaults=with_external_id(defaults))
    assert run.execute()["why"].startswith("moves")
    assert run.ledger["refused"] == {}
    assert delivered(sandbox.documents()) == expected(sandbox.truth(), accounts=sandbox.accounts)


def test_external_id_reaches_sts_from_the_checks_before_the_export(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    *others, strict = sandbox.accounts
    require_external_id(sandbox, strict)
    first = Run(defaults=defaults)
    first.execute()
    assert {place.split("/")[0] for place in first.ledger["refused"]} == {strict}
    assert delivered(sandbox.documents()) == expected(sandbox.truth(), accounts=others)

    # Only a place that passes the checks gets what it lacks: its findings are older than the watermark.
    second = Run(defaults=with_external_id(defaults))
    assert second.execute()["why"].startswith("moves")
    assert read_json(second.folder.plan)["refused"] == {}
    assert places.owed(second.folder) == {}
    assert delivered(sandbox.documents()) == expected(sandbox.truth(), accounts=sandbox.accounts)
