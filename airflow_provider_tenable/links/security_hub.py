"""A button on the page of an import's tasks that opens its findings in Security Hub's console."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from airflow_provider_tenable._compat import (
    AIRFLOW_V_3_0_PLUS,
    AIRFLOW_V_3_1_1_PLUS,
    BaseOperatorLink,
    XCom,
    conf,
)
from airflow_provider_tenable.aws import console_url

log = logging.getLogger(__name__)

XCOM_KEY = "security_hub_findings_url"


class SecurityHubFindingsLink(BaseOperatorLink):
    """Opens the findings that a task imported, in the console of their account's partition and Region.

    On the task ``report``, a run with one account and Region has the same button. Airflow fixes the names of a task's
    buttons when it parses the DAG, so there cannot be one per hub: with several of them, the button opens the page of
    the provider in Airflow, where each hub has its link.
    """

    name = "Findings in Security Hub"
    key = XCOM_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return XCom.get_value(key=self.key, ti_key=ti_key) or ""


def hubs_url(dag_id: str, places: Sequence[str]) -> str | None:
    """What the button of ``report`` opens: the console of the only hub, or the page with the links of all hubs.

    :param places: the hubs of a run, each ``account/region``.
    :return: None if there is no hub, its console is not known, or this Airflow has no page.
    """
    if len(places) == 1:
        account, _, region = places[0].partition("/")
        return console_url(account=account, region=region)
    return _page(dag_id) if places else None


def _page(dag_id: str) -> str | None:
    """The section of the provider's page with the findings; None where there is no page (``ui/plugin.py``).

    Airflow 2 shows absolute addresses only; without ``base_url``, Airflow 3 gets one relative to the host.
    """
    from airflow_provider_tenable import config

    if not config.get("ui") or (AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_1_PLUS):
        return None
    base = conf.get("api" if AIRFLOW_V_3_0_PLUS else "webserver", "base_url", fallback="") or ""
    return f"{base.rstrip('/')}/tenable/?dag_id={quote(dag_id, safe='')}#findings"


def show_hubs(context: Any) -> None:
    """Have Airflow show the button of ``report``. An error here does not fail the task, which decides the run's state.

    :param context: that of the task.
    """
    from airflow_provider_tenable.staging.files import read_json
    from airflow_provider_tenable.staging.layout import RunFolder

    try:
        run = RunFolder.of(context)
        ledger: dict[str, Any] | None = read_json(run.ledger)
        if ledger and (url := hubs_url(run.dag_id, list(ledger["destinations"]))):
            context["ti"].xcom_push(key=XCOM_KEY, value=url)
    except Exception as error:  # noqa: BLE001 - of Airflow's API or of the staging area; the report has the same links.
        log.warning("The button that opens the findings is missing: %s", type(error).__name__)


__all__ = ["XCOM_KEY", "SecurityHubFindingsLink", "console_url", "hubs_url", "show_hubs"]
