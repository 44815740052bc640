"""The table of assets: which row of an asset counts, what is decoded for it, and which instances it has."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.assets import table
from airflow_provider_tenable.assets.table import AssetTable
from airflow_provider_tenable.staging import keyed_rows
from tests.unit.assets.parts import to_parquet


class Part(io.BytesIO):
    protocol = "file"

    def read_bytes(self) -> bytes:
        return self.getvalue()


def part_of(rows):
    """A part with an asset for each (id, instance)."""
    assets = [{"id": asset, "cloud": {"aws": {"ec2_instance_id": instance}}} for asset, instance in rows]
    return Part(to_parquet(json.dumps(assets).encode())[0])


ROWS = st.tuples(st.sampled_from("abcde"), st.sampled_from([None, "", "i-1", "i-2", "i-3"]))


@given(
    st.lists(st.lists(ROWS, max_size=6), max_size=5),
    st.sampled_from([0, 1, 3, table._KNOWN_IDS]),
    st.sampled_from([0, 500, keyed_rows.IN_MEMORY_BYTES]),
)
@settings(max_examples=150, deadline=None)
def test_last_row_of_an_asset_counts_however_many_there_are_and_wherever_they_are_kept(parts, known, in_memory):
    expected = {asset: instance for rows in parts for asset, instance in rows}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "_KNOWN_IDS", known)
        patch.setattr(keyed_rows, "IN_MEMORY_BYTES", in_memory)
        assets = AssetTable(part_of(rows) for rows in parts)
        try:
            found = {asset: row.instance_id for asset in "abcdef" if (row := assets.get(asset))}
            assert found == expected
            assert [row.id for row in assets.rows()] == sorted(expected)
            assert sorted(assets.instance_ids()) == sorted(filter(None, expected.values()))
            # After it was closed, everything is read again.
            assets.close()
            assert [row.instance_id for row in assets.rows()] == [expected[asset] for asset in sorted(expected)]
        finally:
            assets.close()


@pytest.mark.parametrize(("known", "decoded"), [(table._KNOWN_IDS, [5, 1, 3]), (1, [5, 1, 4]), (0, [5, 1, 9])])
def test_rows_that_later_ones_replace_are_not_decoded_as_long_as_few_ids_must_be_kept(monkeypatch, known, decoded):
    seen, encoded = [], table._encoded

    def counted(rows):
        seen.append(rows.num_rows)
        return encoded(rows)

    monkeypatch.setattr(table, "_KNOWN_IDS", known)
    monkeypatch.setattr(table, "_encoded", counted)
    oldest, older, newest = (
        part_of((f"{number}", "i-1") for number in numbers) for numbers in (range(9), [5], range(5))
    )
    assets = AssetTable([oldest, older, newest])
    assert len(list(assets.rows())) == 9
    assert seen == decoded
    assets.close()
