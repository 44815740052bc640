"""What the operators read and write, in OpenLineage's terms; and our assets' URIs, as Airflow and OpenLineage ask for
them.

Datasets: Tenable's records ``tenable://{host}`` / ``vulnerabilities``, what is staged (``s3://{bucket}`` or ``file``,
and the path), and the findings of one hub, ``securityhub://{account}/{region}`` / ``findings``. Nothing here is asked
for where the OpenLineage provider is not installed.

.. seealso:: https://openlineage.io/docs/spec/naming
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit


@dataclass(frozen=True)
class Data:
    """A dataset, and how much of it a task has read or written: rows, bytes, files."""

    namespace: str
    name: str
    rows: int | None = None
    size: int | None = None
    files: int | None = None


def tenable_data(url: str, export: str, rows: int | None = None) -> Data:
    """The records of one kind in the Tenable at ``url``."""
    return Data(f"tenable://{urlsplit(url).hostname}", export, rows)


def staged_data(uri: str, rows: int | None = None, size: int | None = None, files: int | None = None) -> Data:
    """A folder in the staging area. A connection's id in its URI is no part of the name."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        return Data("file", parts.path, rows, size, files)
    return Data(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", parts.path.strip("/"), rows, size, files)


def security_hub_data(account: str, region: str, rows: int | None = None) -> Data:
    """The findings in the hub of one account and Region."""
    return Data(f"securityhub://{account}/{region}", "findings", rows)


def operator_lineage(inputs: Sequence[Data], outputs: Sequence[Data]) -> Any:
    """What an operator's ``get_openlineage_facets_on_complete`` returns: an ``OperatorLineage`` with the datasets and
    their statistics.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import input_statistics_input_dataset, output_statistics_output_dataset

    def counted(facet: Any, data: Data) -> Any:
        return facet(rowCount=data.rows, size=data.size, fileCount=data.files)

    read = input_statistics_input_dataset.InputStatisticsInputDatasetFacet
    written = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    return OperatorLineage(
        inputs=[
            InputDataset(each.namespace, each.name, inputFacets={"inputStatistics": counted(read, each)})
            for each in inputs
        ],
        outputs=[
            OutputDataset(each.namespace, each.name, outputFacets={"outputStatistics": counted(written, each)})
            for each in outputs
        ],
    )


def sanitize_tenable_uri(uri: SplitResult) -> SplitResult:
    """The normal form of an asset's URI of the scheme ``tenable``, for Airflow's ``asset-uris``."""
    # Other URIs of the scheme are other people's: they are left as they are.
    return uri._replace(netloc=uri.netloc.lower())


def convert_asset_to_openlineage(asset: Any, lineage_context: Any = None) -> Any:
    """The dataset that an asset of the scheme ``tenable`` stands for: ``tenable://security-hub/{dag_id}`` is the
    findings that the DAG has brought there.
    """
    from openlineage.client.event_v2 import Dataset

    parts = urlsplit(asset.uri)
    return Dataset(namespace=f"{parts.scheme}://{parts.netloc}", name=parts.path.strip("/"))
