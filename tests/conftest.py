"""Airflow is set up before anything imports it: its own home, a database in there, no examples."""

from __future__ import annotations

import gc
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.garbage import collect_rarely
from tests.plain_ids import plain

# Until all tests are collected: imports leave no garbage.
gc.disable()
ROOT = pathlib.Path(__file__).resolve().parent.parent
_HOME = pathlib.Path(tempfile.mkdtemp(prefix="airflow-provider-tenable-tests-"))

os.environ.update(
    {
        "AIRFLOW_HOME": str(_HOME),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
    }
)
# What is set on this machine must not reach a test.
for _name in list(os.environ):
    if _name.startswith(
        (
            "AIRFLOW__TENABLE__",
            "AIRFLOW_CONN_",
            "AIRFLOW_VAR_",
            "TIO_",
            "AWS_ACCESS",
            "AWS_SECRET",
            "AWS_SESSION",
            "AWS_PROFILE",
            "AWS_DEFAULT_REGION",
            "AWS_REGION",
        )
    ):
        del os.environ[_name]


def pytest_configure(config: pytest.Config) -> None:
    """Airflow 2.11 warns of what Airflow 3 removed, in its own code; the class of that warning is gone in Airflow 3."""
    if "MUTANT_UNDER_TEST" in os.environ:
        _for_mutants()
    try:
        from airflow.exceptions import RemovedInAirflow3Warning  # noqa: F401
    except ImportError:
        return
    # By the module that is warned: one that our own code earns is an error.
    config.addinivalue_line("filterwarnings", r"ignore::airflow.exceptions.RemovedInAirflow3Warning:airflow(\..*)?$")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Ids without backslashes, of all values that pytest would escape (:func:`~tests.plain_ids.plain`)."""
    return plain(val) if isinstance(val, str | bytes) and "\\" in ascii(val) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse ids that mutmut would not find again."""
    if escaped := [item.nodeid for item in items if "\\" in item.nodeid]:
        raise pytest.UsageError(f"Ids with backslashes; give these tests ids=plain (tests.plain_ids): {escaped[:5]}")


def pytest_collection_finish() -> None:
    """Traversing all of Airflow repeatedly is slow."""
    gc.enable()
    collect_rarely()


def pytest_unconfigure() -> None:
    """Remove Airflow's home."""
    shutil.rmtree(_HOME, ignore_errors=True)


def _for_mutants() -> None:
    """mutmut only needs to know that a property fails, and the same each time: no shrinking, no randomness."""
    from hypothesis import Phase, settings

    settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], derandomize=True, database=None)
    settings.load_profile("mutants")


@pytest.fixture(autouse=True)
def _no_secrets_of_earlier_tests() -> None:
    """A process never forgets a secret, and searches each body for all of them. Most tests add new ones."""
    from airflow_provider_tenable.guards import redaction

    redaction._in_texts = redaction._Known()
    redaction._in_bodies = redaction._Known()
    redaction._in_large_bodies = ()


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An S3-compatible store with the staging bucket in it."""
    from tests.object_store import BUCKET, ObjectStore

    with ObjectStore(log=tmp_path_factory.mktemp("object-store") / "store.log") as store:
        store.wait()
        store.client.create_bucket(Bucket=BUCKET)
        yield store
