"""The operators' inputs and outputs as OpenLineage datasets, and the handlers of our asset URIs for Airflow and
OpenLineage.

Datasets: Tenable's records ``tenable://{host}`` / ``vulnerabilities``, staged files (``s3://{bucket}`` or ``file``, and
the path), and the findings of one hub, ``securityhub://{account}/{region}`` / ``findings``. Airflow calls nothing here
unless the OpenLineage provider is installed.

.. seealso:: https://openlineage.io/docs/spec/naming
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit


@dataclass(frozen=True)
class Data:
    """A dataset, and how much of it a task has read or written.

    :ivar size: bytes.
    """

    namespace: str
    name: str
    rows: int | None = None
    size: int | None = None
    files: int | None = None


def tenable_data(url: str, export: str, rows: int | None = None) -> Data:
    """The records of one kind in the Tenable instance at ``url``."""
    return Data(f"tenable://{urlsplit(url).hostname}", export, rows)


def staged_data(uri: str, rows: int | None = None, size: int | None = None, files: int | None = None) -> Data:
    """A folder in the staging area. The name does not include a connection id in its URI."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        return Data("file", parts.path, rows, size, files)
    return Data(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", parts.path.strip("/"), rows, size, files)


def security_hub_data(account: str, region: str, rows: int | None = None) -> Data:
    """The findings in the hub of one account and Region."""
    return Data(f"securityhub://{account}/{region}", "findings", rows)


def operator_lineage(inputs: Sequence[Data], outputs: Sequence[Data]) -> Any:
    """The ``OperatorLineage`` that an operator's ``get_openlineage_facets_on_complete`` returns: its datasets and their
    statistics.
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
            InputDataset(data.namespace, data.name, inputFacets={"inputStatistics": counted(read, data)})
            for data in inputs
        ],
        outputs=[
            OutputDataset(data.namespace, data.name, outputFacets={"outputStatistics": counted(written, data)})
            for data in outputs
        ],
    )


def sanitize_tenable_uri(uri: SplitResult) -> SplitResult:
    """Normalise an asset URI of the scheme ``tenable``, for Airflow's ``asset-uris``."""
    # The path may belong to somebody else's asset, so only the host is normalised.
    return uri._replace(netloc=uri.netloc.lower())


def convert_asset_to_openlineage(asset: Any, lineage_context: Any = None) -> Any:
    """The dataset of an asset of the scheme ``tenable``: ``tenable://security-hub/{dag_id}`` stands for the findings
    that the DAG has imported.
    """
    from openlineage.client.event_v2 import Dataset

    parts = urlsplit(asset.uri)
    return Dataset(namespace=f"{parts.scheme}://{parts.netloc}", name=parts.path.strip("/"))
