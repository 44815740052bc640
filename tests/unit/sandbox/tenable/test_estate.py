from collections import Counter

import pytest

from sandbox.tenable.estate import SIZES, Estate
from sandbox.tenable.hosts import SPECIAL_KINDS
from sandbox.tenable.plugin_record import plugin_json, plugin_record
from sandbox.tenable.plugins import all_plugins

NOW = 1_700_000_000.0


def test_the_same_seed_gives_the_same_estate() -> None:
    one, other = Estate.of_size("small", NOW, seed=3), Estate.of_size("small", NOW, seed=3)
    assert one.truth(NOW) == other.truth(NOW)
    assert one.truth(NOW) != Estate.of_size("small", NOW, seed=4).truth(NOW)


@pytest.mark.parametrize("size", ["tiny", "small", "demo"])
def test_an_estate_has_the_size_that_it_promises(size: str) -> None:
    truth = Estate.of_size(size, NOW).truth(NOW)
    assert len(truth["assets"]) == SIZES[size].hosts
    assert len(truth["vulnerabilities"]) == pytest.approx(SIZES[size].vulnerabilities, rel=0.01)


def test_vulnerabilities_are_told_apart_by_asset_plugin_protocol_and_port() -> None:
    found = Estate.of_size("demo", NOW).truth(NOW)["vulnerabilities"]
    keys = {(one["asset_id"], one["plugin_id"], one["protocol"], one["port"]) for one in found}
    assert len(keys) == len(found) == len({one["finding_id"] for one in found})
    assert len({key[:2] for key in keys}) < len(keys), "some plugins must report on several ports of a host"


def test_every_record_is_at_least_three_hours_old_and_its_times_are_in_order() -> None:
    for one in Estate.of_size("demo", NOW).truth(NOW)["vulnerabilities"]:
        assert one["indexed"] <= NOW - 3 * 3600
        assert one["first_found"] <= one["last_found"] <= one["indexed"]
        assert (one["last_fixed"] is not None) == (one["state"] == "FIXED")
        assert one["last_fixed"] is None or one["last_found"] <= one["last_fixed"] <= one["indexed"]


def test_every_kind_of_host_is_there_and_most_are_ec2() -> None:
    kinds = Counter(asset["asset_kind"] for asset in Estate.of_size("small", NOW).truth(NOW)["assets"])
    assert set(kinds) == {"ec2", *SPECIAL_KINDS}
    assert kinds["ec2"] > 0.8 * kinds.total()


def test_the_truth_names_account_and_instance_only_where_there_are_any() -> None:
    for asset in Estate.of_size("demo", NOW).truth(NOW)["assets"]:
        kind = asset["asset_kind"]
        assert (asset["instance_id"] is None) == (kind in ("on_prem", "azure", "gcp", "webapp"))
        assert (asset["account"] is None) == (
            kind in ("on_prem", "azure", "gcp", "webapp", "no_owner", "canonical_owner")
        )
        assert (asset["account"] == "999900001111") == (kind == "foreign_account")


def test_accounts_and_regions_are_filled_evenly() -> None:
    places = Counter((asset["account"], asset["region"]) for asset in Estate.of_size("demo", NOW).truth(NOW)["assets"])
    routable = [count for (account, _), count in places.items() if account and account != "999900001111"]
    assert len(routable) == 6
    assert min(routable) > 45


def test_shares_of_severities_and_states_are_believable() -> None:
    found = Estate.of_size("demo", NOW).truth(NOW)["vulnerabilities"]
    severities = Counter(one["severity_id"] for one in found)
    for severity, share in enumerate((0.2, 0.12, 0.27, 0.27, 0.14)):
        assert severities[severity] / len(found) == pytest.approx(share, abs=0.05)
    assert Counter(one["state"] for one in found)["FIXED"] / len(found) == pytest.approx(0.1, abs=0.03)
    assert {one["severity_modification_type"] for one in found} == {"NONE", "RECASTED", "ACCEPTED"}


def test_plugins_have_the_quirks_of_real_ones() -> None:
    records = [plugin_record(plugin) for plugin in all_plugins()]
    assert len(records) == 120
    assert any(len(record["description"]) > 1024 for record in records)
    assert any("&lt;" in record["description"] for record in records)
    assert any("&lt;" in record["name"] for record in records)
    assert any(len(record.get("solution", "")) > 512 for record in records)
    assert any("solution" not in record for record in records)
    assert any(record.get("solution") == "n/a" for record in records)
    assert {type(record.get("see_also")) for record in records} == {list, str, type(None)}
    assert {type(record.get("ms_bulletin")) for record in records} == {list, str, type(None)}
    assert any(len(cve.split("-")[2]) >= 6 for record in records for cve in record.get("cve", ()))
    assert {len(record.get("cve", ())) for record in records} >= {0, 1, 12}
    assert any(record["risk_factor"] in ("HIGH", "High") for record in records)
    assert {record["type"] for record in records} == {"local", "remote", "combined", "summary"}
    assert not any(record.get("cvss3_vector", {}).get("raw", "AV").startswith("CVSS:") for record in records)
    assert all(value is not None for record in records for value in record.values())
    assert sum(len(plugin_json(plugin)) for plugin in all_plugins()) / 120 == pytest.approx(3_700, rel=0.2)
