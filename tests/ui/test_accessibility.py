"""The page as people with a screen reader, a keyboard or weak eyes meet it: axe-core, the engine behind most checkers,
looks at every state of it in a browser. No Airflow is needed for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="`make test-ui` installs it")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.ui.answer import refused
from airflow_provider_tenable.ui.facts import DagRunFacts, LastRun
from airflow_provider_tenable.ui.scans import MOST_AUDITS, SCAN_DAG, Scans, read_scans
from airflow_provider_tenable.ui.snapshot import Snapshot, read_snapshot
from tests.page_samples import DAG_ID, HOSTILE, NOW, counts, history_entry, write_rejected, write_samples
from tests.ui.browser import open_page
from tests.unit.ui.test_page import facts, shown

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with open_page("about:blank") as opened:
        yield opened


def _full(folder: Path) -> str:
    """Every section at once, with everything that needs attention."""
    audits = {"run_id": "full-1", "at": NOW, "left_out": 3, "accounts": {"111122223333": {"CIS": {"failed": 7}}}}
    stopped, refusals = {"111122223333/eu-west-1": 840}, {"111122223335/eu-west-1": "AccessDenied: the role"}
    run = write_samples(folder, places=12, status={"audits": audits, "stopped": stopped, "refused": refusals})
    failed = history_entry(1, complete=False, title="Not complete")
    entries = [history_entry(number) for number in reversed(range(2, 40))]
    entries += [
        {name: value for name, value in failed.items() if name != "counts"},
        history_entry(0, counts=counts(skipped={"no_ec2_instance": 150, "asset_missing_given_up": 3})),
    ]
    write_json(run.history, {"version": 1, "runs": entries})
    for number, run_id in enumerate((run.run_id, entries[-3]["run_id"])):
        lines = [
            {"id": f"finding-{each}", "account": "111122223333", "region": "eu-west-1", "code": "InvalidInput"}
            | {"message": "should be string", "finding": {"Title": title}}
            for each, title in enumerate(("OpenSSL 3.0.0", HOSTILE))
        ]
        write_rejected(run.beside(run_id), lines, account="111122223333", region="eu-west-1", shard=number)
    last = LastRun("scheduled__00000", "failed", NOW - 60, NOW, [("import_findings", 3)])
    known = facts(last_run=last, schedule="Every day", paused=True)
    snapshot = read_snapshot(f"file://{folder}", DAG_ID)
    return shown(snapshot, known, airflow_3=False, now=NOW + 10 * 86_400, scans=_scans(folder))


def _scans(folder: Path) -> Scans:
    staging = f"file://{folder}"
    result = {"name": "Weekly: DMZ", "status": "completed", "severities": {"high": 3}}
    write_json(RunFolder(staging, SCAN_DAG, "manual__0").job("run_scan"), {"run_uuid": "u", "result": result})
    for number in range(MOST_AUDITS + 2):
        entry = {"version": 1, "account": "111122223333", "name": "CIS", "audits": ["72426_CIS.audit"]}
        write_json(open_path(staging) / "audits" / f"{number:02d}.json", entry)
    runs = [DagRunFacts("manual__0", "success", NOW), DagRunFacts("manual__1", "failed", NOW)]
    return read_scans(staging, runs, audits=True)


STATES = {
    "full": _full,
    "empty": lambda folder: shown(Snapshot(DAG_ID), facts(last_run=None, has_replay=False)),
    "unreadable": lambda folder: shown(Snapshot(DAG_ID, problems=["The staging area cannot be read."])),
    "without rejections": lambda folder: shown(read_snapshot(f"file://{folder}", write_samples(folder).dag_id)),
    "refused": lambda folder: refused("Not allowed", "You may not see this DAG.", status=403).body.decode(),
}


#: Scheme of colors and width of the window. The full page has every element of the others.
LOOKS = [("light", 1280), ("dark", 390), ("light", 390), ("dark", 1280)]


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(page: Page, state: str, tmp_path: Path) -> None:
    html = STATES[state](tmp_path)
    found = []
    for scheme, width in LOOKS if state == "full" else LOOKS[:2]:
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.set_viewport_size({"width": width, "height": 900})
        page.set_content(html)
        # What is folded would not be looked at.
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        found += [f"{scheme}, {width}: {line}" for line in _lines(Axe().run(page).response)]
    assert found == []


def _lines(result: dict[str, list[dict[str, object]]]) -> list[str]:
    """A line per rule that is violated: its impact, what it asks for, and where."""
    assert result["violations"] is not None
    lines = []
    for rule in result["violations"]:
        nodes = rule["nodes"]
        assert isinstance(nodes, list)
        where = "; ".join(str(node["html"])[:150] for node in nodes[:3])
        lines.append(f"{rule['id']} ({rule['impact']}): {rule['help']}: {len(nodes)}: {where}")
    return lines


def test_axe_would_notice(page: Page, tmp_path: Path) -> None:
    broken = (
        STATES["full"](tmp_path)
        .replace("--soft: #4c5668", "--soft: #c0c6d0")
        .replace(' lang="en"', "")
        .replace('role="img" aria-label', 'role="img" data-label')
    )
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.set_content(broken)
    violated = {line.partition(" ")[0] for line in _lines(Axe().run(page).response)}
    assert {"color-contrast", "html-has-lang", "svg-img-alt"} <= violated
