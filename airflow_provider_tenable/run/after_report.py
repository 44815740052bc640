"""Lines below the table of the report: why findings were rejected, and the console of each hub."""

from __future__ import annotations

import itertools
import logging
import shlex

from airflow_provider_tenable.aws import console_url
from airflow_provider_tenable.exceptions import TenableProviderError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_ID, LONGEST_MESSAGE, safe
from airflow_provider_tenable.run.ledger import Ledger
from airflow_provider_tenable.run.ledger_checks import rejected_lines
from airflow_provider_tenable.staging.layout import RunFolder

log = logging.getLogger(__name__)

#: Reasons and hubs that have a line, and rejections that are read for an example of each reason.
_MOST_REASONS, _MOST_HUBS, _MOST_READ = 5, 200, 100_000


def log_after_report(run: RunFolder, ledger: Ledger) -> None:
    """Log the most frequent reasons for which findings were rejected, each with an example, where all of them are, and
    a link to the findings of each account and Region in Security Hub's console.
    """
    if ledger["rejected"]:
        _log_rejected(run, ledger)
    places = list(ledger["destinations"])
    for place in places[:_MOST_HUBS]:
        account, _, region = place.partition("/")
        if url := console_url(account=account, region=region):
            log.info("Findings of %s: %s", safe(place), url)
    if len(places) > _MOST_HUBS:
        log.info("The ledger has %d more accounts and Regions: %s", len(places) - _MOST_HUBS, run.ledger)


def _log_rejected(run: RunFolder, ledger: Ledger) -> None:
    by_count = sorted(ledger["rejected"].items(), key=lambda item: (-item[1], item[0]))[:_MOST_REASONS]
    wanted, examples = {code for code, _ in by_count}, dict[str, str]()
    try:
        for line in itertools.islice(rejected_lines(run), _MOST_READ):
            if line["code"] in wanted and line["code"] not in examples:
                examples[line["code"]] = (
                    f"{safe(line['id'] or 'no id', LONGEST_ID)}: {safe(line['message'], LONGEST_MESSAGE)}"
                )
                if len(examples) == len(wanted):
                    break
    except TenableProviderError as error:
        log.warning("The rejected findings cannot be read: %s", error)
    for code, count in by_count:
        log.warning(
            "Rejected: %d x %s, such as %s", count, safe(code, LONGEST_CODE), examples.get(code, "none on record")
        )
    log.warning(
        "All of them are in %s: python -m airflow_provider_tenable.command.rejected --dag-id %s %s",
        run.rejected,
        # People copy this line into a shell.
        shlex.quote(safe(run.dag_id, LONGEST_ID)),
        shlex.quote(safe(run.run_id, LONGEST_ID)),
    )


__all__ = ["log_after_report"]
