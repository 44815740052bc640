"""The page: what it says in which state, that texts stay texts, and that people and machines can read it."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_tenable.run.form import replay_params
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.ui.facts import DagFacts, LastRun
from airflow_provider_tenable.ui.now import span
from airflow_provider_tenable.ui.page import SHOWN_PLACES, SHOWN_RUNS, build, scans_of
from airflow_provider_tenable.ui.render import render
from airflow_provider_tenable.ui.scans import Scans
from airflow_provider_tenable.ui.snapshot import Snapshot, read_snapshot
from airflow_provider_tenable.ui.urls import Urls
from tests.page_samples import DAG_ID, DAY, HOSTILE, NOW, counts, history_entry, write_rejected, write_samples

STYLE = (Path(__file__).parents[3] / "airflow_provider_tenable/ui/templates/style.css").read_text()
LAST = LastRun("scheduled__00000", "success", NOW - 60, NOW, [])


def facts(**change: Any) -> DagFacts:
    known: dict[str, Any] = {
        "dag_id": DAG_ID,
        "paused": False,
        "next_run": NOW + DAY,
        "interval": float(DAY),
        "schedule": "",
        "staging": "",
        "last_run": LAST,
        "has_replay": True,
    }
    return DagFacts(**{**known, **change})


def shown(
    snapshot: Snapshot,
    known: DagFacts | None = None,
    *,
    airflow_3: bool = True,
    now: float = NOW + 3600,
    scans: Scans | None = None,
) -> str:
    """The page as text."""
    page = build(snapshot, facts() if known is None else known, Urls(airflow_3=airflow_3), now=now)
    section = scans_of(scans, Urls(airflow_3=airflow_3))
    content = {"page": page, "scans": section, "dags": [DAG_ID, "other"], "tables": ["runs"]}
    return render("page.html", "nonce", **content).decode()


class Parsed(HTMLParser):
    """The elements of a page, as a browser finds them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    write_samples(tmp_path)
    return read_snapshot(f"file://{tmp_path}", DAG_ID)


def test_the_page_has_what_a_person_came_for(snapshot: Snapshot) -> None:
    text = Parsed(shown(snapshot)).text
    for words in (
        "success",
        "2026-11-26T23:50:00Z",
        "1 hour 10 minutes ago, 0.0 intervals of the schedule",
        "2026-11-28T00:00:00Z",
        "in 6 accounts and Regions",
        "What became of 1,210 records",
        "40 account_not_configured: add the account to a destination",
        "12 not_reported",
        "15 earlier runs, which the export has",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("airflow_3", "run", "task"),
    [
        (
            True,
            f"../dags/{DAG_ID}/runs/scheduled__00000",
            f"../dags/{DAG_ID}/runs/scheduled__00000/tasks/import_findings/mapped/3",
        ),
        (
            False,
            f"../dags/{DAG_ID}/grid?dag_run_id=scheduled__00000",
            f"../dags/{DAG_ID}/grid?dag_run_id=scheduled__00000&task_id=import_findings&map_index=3&tab=logs",
        ),
    ],
)
def test_links_lead_to_the_run_and_to_the_task_that_failed(
    snapshot: Snapshot, airflow_3: bool, run: str, task: str
) -> None:
    failed = LastRun("scheduled__00000", "failed", None, None, [("import_findings", 3)])
    links = {each.get("href") for each in Parsed(shown(snapshot, facts(last_run=failed), airflow_3=airflow_3)).of("a")}
    assert {run, task} <= links


def test_a_run_id_of_any_characters_is_one_part_of_a_link() -> None:
    assert Urls(airflow_3=True).run("d", "a/b?c#é") == "../dags/d/runs/a%2Fb%3Fc%23%C3%A9"
    assert Urls(airflow_3=False).run("d", "a&b=c") == "../dags/d/grid?dag_run_id=a%26b%3Dc"


def test_findings_of_a_place_lead_to_its_console(snapshot: Snapshot) -> None:
    [link] = [
        each
        for each in Parsed(shown(snapshot)).of("a")
        if "111122223333" in str(each.get("href")) and each.get("target")
    ]
    assert str(link["href"]).startswith("https://eu-west-1.console.aws.amazon.com/securityhub/home?region=eu-west-1#/")
    assert link["rel"] == "noopener noreferrer"


def test_a_place_that_is_none_has_no_link(tmp_path: Path, snapshot: Snapshot) -> None:
    assert snapshot.status is not None
    hubs = snapshot.status["hubs"]
    hubs["places"] = {"javascript:alert(1)//x/eu-west-1": hubs["total"], f"{HOSTILE}/y": hubs["total"]}
    assert [each for each in Parsed(shown(snapshot)).of("a") if each.get("target")] == []


def test_the_last_run_is_that_of_the_history_where_airflow_has_forgotten_it(snapshot: Snapshot) -> None:
    text = Parsed(shown(snapshot, facts(last_run=None))).text
    assert "Last run complete scheduled__00000 2026-11-27T00:00:00Z Complete: every record is accounted for" in text


class TestAttention:
    """What waits for a person."""

    def test_nothing_waits_after_a_good_run(self, snapshot: Snapshot) -> None:
        assert 'class="attention"' not in shown(snapshot)

    def test_a_failed_run_names_its_task(self, snapshot: Snapshot) -> None:
        text = shown(snapshot, facts(last_run=LastRun("r", "failed", None, None, [("settle", -1)])))
        assert "The last run failed in the task settle." in text
        assert f'href="../dags/{DAG_ID}/runs/r/tasks/settle"' in text

    def test_a_brake_waits_for_a_word(self, tmp_path: Path) -> None:
        write_samples(tmp_path, status={"stopped": {"111122223333/eu-west-1": 840}})
        text = Parsed(shown(read_snapshot(f"file://{tmp_path}", DAG_ID))).text
        assert "840 findings of 111122223333/eu-west-1 were not archived" in text
        assert "max_archived_ratio = 1" in text

    def test_places_that_refused_are_named_with_the_reason(self, tmp_path: Path) -> None:
        folder = write_samples(tmp_path, status={"refused": {"111122223333/eu-west-1": "AccessDenied: no such role."}})
        write_json(folder.owed_places / "222233334444-us-east-1.json", {"since": 1, "first": 1, "why": "x"})
        text = Parsed(shown(read_snapshot(f"file://{tmp_path}", DAG_ID))).text
        assert "111122223333/eu-west-1 refuses its findings. AccessDenied: no such role. The missing findings" in text
        assert "222233334444/us-east-1 refuses its findings. The missing findings are delivered once" in text

    @pytest.mark.parametrize(("intervals", "late"), [(1.9, False), (2.1, True)])
    def test_an_old_watermark_is_late_after_two_intervals(
        self, snapshot: Snapshot, intervals: float, late: bool
    ) -> None:
        text = shown(snapshot, now=NOW - 600 + intervals * DAY)
        assert ("more than 2 intervals of the schedule" in text) is late

    def test_without_a_schedule_no_watermark_is_late(self, snapshot: Snapshot) -> None:
        text = shown(snapshot, facts(interval=None, next_run=None), now=NOW + 90 * DAY)
        assert "more than 2 intervals" not in text
        assert "none: the DAG has no schedule" in text

    def test_a_paused_dag_has_no_next_run(self, snapshot: Snapshot) -> None:
        assert "none: the DAG is paused" in shown(snapshot, facts(paused=True))


class TestEmpty:
    """A page without anything says what to do first."""

    def test_before_the_first_run(self) -> None:
        text = Parsed(shown(Snapshot(DAG_ID), facts(last_run=None))).text
        for words in (
            "none yet Trigger a run with dry_run on first: it sends nothing",
            "It is set by the first complete run that is not a dry run",
            "No complete run has recorded what the hubs hold",
            f"Trigger {DAG_ID} with dry_run on",
            "After the first run, dry or not, this shows what became of each record",
            "No rejected findings are on record",
        ):
            assert words in text, words

    def test_after_a_dry_run_nothing_is_shown_as_sent(self, tmp_path: Path) -> None:
        folder = write_samples(tmp_path)
        dry = history_entry(0, dry_run=True, watermark=None, counts=counts(accepted=0, rejected={}, archived={}))
        write_json(folder.history, {"version": 1, "runs": [dry]})
        Path(folder.status.path).unlink()
        page = shown(read_snapshot(f"file://{tmp_path}", DAG_ID))
        text = Parsed(page).text
        assert "dry run" in text
        assert "not sent: 302" in text
        assert 'class="columns"' not in page
        assert "not set" in text

    def test_a_run_without_ledger_says_where_to_look(self, tmp_path: Path) -> None:
        folder = write_samples(tmp_path)
        entry = {"run_id": "r", "at": NOW, "complete": False, "dry_run": False, "title": "The run was not planned"}
        write_json(folder.history, {"version": 1, "runs": [entry]})
        text = Parsed(shown(read_snapshot(f"file://{tmp_path}", DAG_ID))).text
        assert "not complete r The run was not planned no ledger: the log of report" in text

    def test_what_cannot_be_read_is_said(self) -> None:
        text = Parsed(shown(Snapshot(DAG_ID, problems=["Cannot read s3://bucket/x: AccessDenied."]))).text
        assert "Cannot read s3://bucket/x: AccessDenied. The web server must be able to read [tenable]" in text


def test_audits_are_a_table_by_account_and_audit_file(tmp_path: Path) -> None:
    accounts = {f"{number:012d}": {"CIS L1": {"failed": number, "passed": 7}} for number in range(120)}
    audits = {"run_id": "full-1", "at": NOW, "accounts": accounts, "left_out": 3}
    write_samples(tmp_path, status={"audits": audits})
    text = Parsed(shown(read_snapshot(f"file://{tmp_path}", DAG_ID))).text
    assert "full-1" in text
    # The one with the most failed checks is the first one.
    assert re.search(r"Passed 000000000119 CIS L1 119 0 7 000000000118", text)
    assert "and 23 more audits." in text
    write_samples(tmp_path / "none")
    assert "audits" not in {
        each.get("id") for each in Parsed(shown(_with_rejected(tmp_path / "x", "plain"))).of("section")
    }


def test_texts_from_outside_are_text(tmp_path: Path) -> None:
    place = {"by_severity": {"high": 1, HOSTILE: 2}, "median_days": 1, "oldest_days": 1, "overdue": {}}
    clean = Parsed(shown(_with_rejected(tmp_path / "clean", "plain")))
    folder = write_samples(
        tmp_path / "hostile",
        status={
            "stopped": {HOSTILE: 3},
            "refused": {HOSTILE: HOSTILE},
            "unserved": {HOSTILE: {HOSTILE: 4}},
            "audits": {
                "run_id": HOSTILE,
                "at": 1,
                "accounts": {"111122223333": {HOSTILE: {"failed": 1}}},
                "left_out": 0,
            },
            "hubs": {"total": place, "places": {HOSTILE: place}, "unknown": [HOSTILE]},
        },
    )
    hostile_counts = counts(skipped={HOSTILE: 5}, rejected={HOSTILE: 6}, archived={HOSTILE: 7})
    entries = [history_entry(0, run_id=HOSTILE.replace("/", ""), title=HOSTILE, counts=hostile_counts)]
    write_json(folder.history, {"version": 1, "runs": entries})
    hostile = read_snapshot(f"file://{tmp_path / 'hostile'}", DAG_ID)
    rejected = _with_rejected(tmp_path / "rejected", HOSTILE).rejected
    failed = LastRun(HOSTILE, "failed", None, None, [(HOSTILE, -1)])
    known = facts(schedule=HOSTILE, last_run=failed)
    all_of_it = Snapshot(DAG_ID, hostile.status, hostile.history, rejected, [HOSTILE], [HOSTILE])
    text = shown(all_of_it, known)
    found = Parsed(text)
    # Markup would be elements: there are as many scripts and images as on a page without.
    for tag in ("script", "img", "iframe", "object", "style", "link", "base", "form"):
        assert len(found.of(tag)) == len(clean.of(tag)), tag
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert {str(each.get("href")).partition(":")[0] for each in found.of("a") if ":" in str(each.get("href"))} <= {
        "https"
    }
    assert found.text.count("<script>alert(1)</script>") > 15
    assert "{{ 7 * 7 }}" in found.text
    assert "\x1b" not in text
    assert "\u202e" not in text


def _with_rejected(folder: Path, text: str) -> Snapshot:
    run = write_samples(folder)
    line = {"id": text, "account": text, "region": text, "code": text, "message": text, "finding": {"Title": text}}
    write_rejected(run, [line], account="111122223333", region="eu-west-1")
    return read_snapshot(f"file://{folder}", DAG_ID)


def test_a_rejected_finding_has_its_command_and_configuration(tmp_path: Path) -> None:
    found = Parsed(shown(_with_rejected(tmp_path, "plain")))
    copied = {each.get("data-copy") for each in found.of("button")}
    conf = '{"dag_id":"tenable_to_security_hub","run_id":"scheduled__00000"}'
    assert copied == {conf, f"airflow dags trigger tenable_replay_rejected --conf '{conf}'"}
    assert "../dags/tenable_replay_rejected" in {each.get("href") for each in found.of("a")}


def test_rejected_findings_of_several_runs_have_one_command_for_all(tmp_path: Path) -> None:
    run_ids = ["early", "late"]
    run = write_samples(tmp_path)
    write_json(run.history, {"version": 1, "runs": [history_entry(0, run_id=run_id) for run_id in run_ids]})
    line = {"id": "x", "account": "1", "region": "r", "code": "c", "message": "m", "finding": {}}
    for run_id in run_ids:
        write_rejected(run.beside(run_id), [line], account="111122223333", region="eu-west-1")
    copied = {
        str(each["data-copy"]) for each in Parsed(shown(read_snapshot(f"file://{tmp_path}", DAG_ID))).of("button")
    }
    confs = [json.loads(each) for each in copied if each.startswith("{")]
    confs = [{**conf, "run_ids": sorted(conf["run_ids"])} if "run_ids" in conf else conf for conf in confs]
    assert {"dag_id": DAG_ID, "run_ids": run_ids} in confs
    assert len(confs) == 3
    commands = [json.loads(shlex.split(each)[-1]) for each in copied if each.startswith("airflow ")]
    assert run_ids in [sorted(each.get("run_ids", ())) for each in commands]
    # The replay takes what the page gives.
    for conf in confs:
        for name, value in conf.items():
            replay_params()[name].resolve(value)


def _forms(text: str) -> list[dict[str, list[str]]]:
    """The queries of the buttons that open the form of the replay DAG."""
    found = [urlsplit(str(each["href"])) for each in Parsed(text).of("a") if each.get("class") == "button"]
    assert {(each.scheme, each.netloc, each.path) for each in found} <= {
        ("", "", "../dags/tenable_replay_rejected/trigger")
    }
    return [parse_qs(each.query, strict_parsing=True) for each in found]


def test_a_button_opens_the_form_of_the_replay_filled_in(tmp_path: Path) -> None:
    run_id = 'manual__"a"&b=<c>#d e'
    run = write_samples(tmp_path).beside(run_id)
    write_json(run.history, {"version": 1, "runs": [history_entry(0, run_id=run_id)]})
    line = {"id": "x", "account": "1", "region": "r", "code": "c", "message": "m", "finding": {}}
    write_rejected(run, [line], account="111122223333", region="eu-west-1")
    snapshot = read_snapshot(f"file://{tmp_path}", DAG_ID)
    [query] = _forms(shown(snapshot, airflow_3=False))
    # Neither dag_id nor run_id, which are the form's own: see Airflow's has_access_dag.
    assert query == {"run_ids": [json.dumps([run_id], separators=(",", ":"))]}
    # What Airflow 2 reads as JSON, it knows by the exact type.
    param = replay_params()["run_ids"]
    assert param.schema["type"] in ("array", ["array", "null"])
    assert param.resolve(json.loads(query["run_ids"][0])) == [run_id]


def test_no_button_where_the_form_cannot_be_filled_in(tmp_path: Path) -> None:
    snapshot = _with_rejected(tmp_path, "plain")
    # Airflow 3 has no address for it, or there is no such DAG.
    assert _forms(shown(snapshot)) == []
    assert _forms(shown(snapshot, facts(has_replay=False), airflow_3=False)) == []
    assert len(_forms(shown(snapshot, airflow_3=False))) == 1
    # The form's default is the other DAG.
    assert _forms(shown(replace(snapshot, dag_id="tenable_emea"), airflow_3=False)) == []


def test_the_command_is_safe_in_a_shell(tmp_path: Path) -> None:
    run_id = "manual__'; rm -rf ~ #`id`$(id)\""
    run = write_samples(tmp_path).beside(run_id)
    write_json(run.history, {"version": 1, "runs": [history_entry(0, run_id=run_id)]})
    line = {"id": "x", "account": "1", "region": "r", "code": "c", "message": "m", "finding": {}}
    write_rejected(run, [line], account="111122223333", region="eu-west-1")
    copied = [
        str(each["data-copy"]) for each in Parsed(shown(read_snapshot(f"file://{tmp_path}", DAG_ID))).of("button")
    ]
    [command] = [each for each in copied if each.startswith("airflow ")]
    assert json.loads(shlex.split(command)[-1]) == {"dag_id": DAG_ID, "run_id": run_id}


def test_many_runs_and_accounts_are_bounded(tmp_path: Path) -> None:
    write_samples(tmp_path, runs=1_000, places=SHOWN_PLACES + 300)
    text = shown(read_snapshot(f"file://{tmp_path}", DAG_ID))
    found = Parsed(text)
    assert len([each for each in found.of("a") if each.get("target")]) == SHOWN_PLACES
    assert "and 300 more accounts and Regions" in found.text
    assert f"and {1_000 - SHOWN_RUNS} earlier runs" in found.text
    assert len(text) < 400_000


class TestReadable:
    """For people who use a screen reader, a keyboard, a phone or a printer: the rules that matter most here, one by
    one. The browser tests have axe-core look at everything (tests/ui/test_accessibility.py).
    """

    @pytest.fixture
    def found(self, tmp_path: Path) -> Parsed:
        return Parsed(shown(_with_rejected(tmp_path, "plain")))

    def test_the_page_has_a_language_a_title_and_its_landmarks(self, found: Parsed) -> None:
        assert found.of("html") == [{"lang": "en"}]
        assert [len(found.of(tag)) for tag in ("title", "main", "header", "footer", "h1")][1:] == [1, 1, 1, 1]
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in found.of("meta")
        labels = [each.get("aria-label") for each in found.of("nav")]
        assert len(labels) == len(set(labels)) == 2

    def test_headings_have_no_gaps(self, found: Parsed) -> None:
        levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))

    def test_every_id_is_unique_and_every_reference_leads_somewhere(self, found: Parsed) -> None:
        ids = Counter(str(attributes["id"]) for _, attributes in found.elements if "id" in attributes)
        assert max(ids.values()) == 1
        labelled = {
            str(attributes["aria-labelledby"]) for _, attributes in found.elements if "aria-labelledby" in attributes
        }
        anchors = {str(each["href"])[1:] for each in found.of("a") if str(each["href"]).startswith("#")}
        assert labelled | anchors <= set(ids)

    def test_every_picture_has_words_or_is_hidden(self, found: Parsed) -> None:
        pictures = found.of("svg")
        assert len(pictures) > 10
        assert all(
            each.get("aria-hidden") == "true" or (each.get("role") == "img" and each.get("aria-label"))
            for each in pictures
        )

    def test_tables_have_heads_with_scope(self, found: Parsed) -> None:
        assert found.of("th")
        assert all(each.get("scope") in ("col", "row") for each in found.of("th"))

    def test_what_scrolls_can_be_reached_by_keyboard_and_has_a_name(self, found: Parsed) -> None:
        scrolling = [each for each in found.of("div") if each.get("class") == "wide"]
        assert scrolling
        assert all(
            each.get("tabindex") == "0" and each.get("role") == "region" and each.get("aria-label")
            for each in scrolling
        )

    def test_nothing_is_loaded_from_elsewhere_and_every_script_has_the_nonce(self, found: Parsed) -> None:
        assert not [attributes for _, attributes in found.elements if "src" in attributes or "style" in attributes]
        assert not found.of("link")
        assert [each.get("nonce") for each in found.of("script", "style")] == ["nonce", "nonce"]

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_texts_have_contrast(self, theme: str) -> None:
        colors = _colors(theme)
        for text in ("text", "soft", "link", "bad", "good"):
            for back in ("back", "card"):
                assert _contrast(colors[text], colors[back]) >= 4.5, (text, back)
        # Parts of charts stand out from the page (WCAG 1.4.11); their numbers are in a table.
        for part in set(colors) - {"back", "card", "line", "text", "soft", "link", "bad", "warn", "good"}:
            assert _contrast(colors[part], colors["back"]) >= 3, part

    def test_dark_is_the_same_by_preference_and_by_choice(self) -> None:
        by_preference = STYLE.split("@media (prefers-color-scheme: dark)")[1].split("} }")[0]
        by_choice = STYLE.split(':root[data-theme="dark"] {')[1].split("}")[0]
        assert dict(_COLOR.findall(by_preference)) == dict(_COLOR.findall(by_choice))


_COLOR = re.compile(r"--([a-z]+): (#[0-9a-f]{6})")


def _colors(theme: str) -> dict[str, str]:
    light = dict(_COLOR.findall(STYLE.split("@media")[0]))
    return (
        light
        if theme == "light"
        else light | dict(_COLOR.findall(STYLE.split(':root[data-theme="dark"] {')[1].split("}")[0]))
    )


def _contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.2."""

    def luminance(color: str) -> float:
        parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than a minute"),
        (60, "1 minute"),
        (3_600, "1 hour"),
        (3_660, "1 hour 1 minute"),
        (90_000, "1 day 1 hour"),
        (172_800, "2 days"),
        (10**12, "11,574,074 days 1 hour"),
    ],
)
def test_spans_are_said_in_two_units(seconds: int, words: str) -> None:
    assert span(seconds) == words
