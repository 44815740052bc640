"""Tenable's own client must be content with the sandbox."""

from collections.abc import Iterator

import pytest
from running_tenable import Running
from tenable.errors import ForbiddenError, UnauthorizedError
from tenable.io import TenableIO

from sandbox.tenable.access import ACCESS_KEY, SECRET_KEY

# pyTenable warns of its own deprecated parts as soon as pytest looks at the client's attributes.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def tio(running: Running) -> Iterator[TenableIO]:
    with TenableIO(ACCESS_KEY, SECRET_KEY, url=running.url, retries=1) as client:
        yield client


def test_session_and_server_status(tio: TenableIO) -> None:
    assert tio.session.details()["name"] == "Sandbox user"
    assert tio.server.status()["status"] == "ready"


def test_vulnerabilities_are_iterated(tio: TenableIO, running: Running) -> None:
    found = {record["finding_id"] for record in tio.exports.vulns(since=1, state=["open", "reopened", "fixed"])}
    assert found == {one["finding_id"] for one in running.truth()}


def test_assets_of_both_versions_are_iterated(tio: TenableIO) -> None:
    assert len(list(tio.exports.assets_v2(chunk_size=100))) == 59
    assert len(list(tio.exports.assets(chunk_size=100))) == 60


def test_a_conflict_is_adopted(tio: TenableIO, running: Running) -> None:
    running.control("options", {"prepare_seconds": 60})
    first = running.start(num_assets=500, include_unlicensed=True, filters={"since": 1})
    assert str(tio.exports.vulns(since=1).uuid) == first
    assert tio.exports.cancel("vulns", first) == "CANCELLED"


def test_one_asset_is_looked_up(tio: TenableIO, running: Running) -> None:
    asset = next(asset for asset in running.control("truth")["assets"] if asset["asset_kind"] == "ec2")
    assert tio.assets.details(asset["asset_id"])["aws_owner_id"] == [asset["account"]]


def test_wrong_keys_and_missing_rights_are_told_apart(running: Running) -> None:
    with TenableIO(ACCESS_KEY, "wrong", url=running.url) as tio, pytest.raises(UnauthorizedError):
        tio.session.details()
    with TenableIO(f"noexport-{ACCESS_KEY}", SECRET_KEY, url=running.url) as tio, pytest.raises(ForbiddenError):
        tio.exports.vulns(since=1)


def test_findings_of_web_applications_are_iterated(tio: TenableIO, running: Running) -> None:
    found = {record["finding_id"] for record in tio.exports.was(since=1, state=["OPEN", "REOPENED", "FIXED"])}
    assert found == {one["finding_id"] for one in running.control("truth")["was"]}
