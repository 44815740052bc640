"""What tasks import only when they run, imported at once: a process that children are forked from does it for all of
them. For a child alone it is a fifth of the CPU of a small run.
"""

from __future__ import annotations

import importlib
import pkgutil

import airflow_provider_tenable
from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS

#: No task loads the page, whose modules are for one web server or the other.
_PAGE = "airflow_provider_tenable.ui."
_LIBRARIES = (
    "airflow.providers.amazon.aws.fs.s3",
    "airflow.providers.amazon.aws.hooks.base_aws",
    "airflow.providers.common.compat.lineage.hook",
    "airflow.providers.openlineage.plugins.openlineage",
    "jinja2.ext",
    "pandas.core.arrays.arrow.extension_types",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "pyarrow.parquet",
    "s3fs",
    "tenable.io",
    "upath.implementations.local",
)
_SDK = (
    "airflow.dag_processing.bundles.local",
    "airflow.dag_processing.collection",
    "airflow.providers.common.compat.connection",
    "airflow.providers.standard.operators.empty",
    "airflow.providers.standard.sensors.external_task",
    "airflow.sdk.definitions.asset.metadata",
    "airflow.sdk.definitions.connection",
    "airflow.sdk.execution_time.cache",
    "airflow.sdk.execution_time.supervisor",
)


def import_late() -> None:
    """Import the whole package, so that all children run one version of it, and what it uses."""
    for module in pkgutil.walk_packages(airflow_provider_tenable.__path__, "airflow_provider_tenable."):
        if not module.name.startswith(_PAGE):
            importlib.import_module(module.name)
    for name in (*_LIBRARIES, *(_SDK if AIRFLOW_V_3_0_PLUS else ())):
        importlib.import_module(name)
