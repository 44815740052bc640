"""One sandbox and one zygote for the suite; a DAG in its own folder for each test, searched for secrets at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.standalone.children import SandboxProcess
from tests.faults.canary import ACCESS_KEY, SECRET_KEY, leaks
from tests.faults.pipeline import Pipeline, Zygote
from tests.faults.universe import Sandbox


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    zygote = Zygote(tmp_path_factory.mktemp("zygote") / "zygote.log")
    yield zygote
    zygote.stop()


@pytest.fixture(scope="session")
def tiny_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """6 hosts, 60 vulnerabilities, of which a quarter is high or critical."""
    arguments = ["--estate", "tiny", "--prepare-seconds", "0.05", "--days-behind", "60", "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
    with SandboxProcess(*arguments, log=tmp_path_factory.mktemp("sandbox") / "sandbox.log") as process:
        sandbox = Sandbox(process)
        yield sandbox
        sandbox.client.close()


@pytest.fixture(scope="session")
def small_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """60 hosts of all kinds, 1,500 vulnerabilities."""
    arguments = ["--estate", "small", "--prepare-seconds", "0.05", "--days-behind", "60", "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
    with SandboxProcess(*arguments, log=tmp_path_factory.mktemp("sandbox") / "sandbox.log") as process:
        sandbox = Sandbox(process)
        yield sandbox
        sandbox.client.close()


@pytest.fixture
def sandbox(tiny_sandbox: Sandbox) -> Sandbox:
    """A sandbox as at its start."""
    tiny_sandbox.reset()
    return tiny_sandbox


@pytest.fixture
def pipeline(zygote: Zygote, sandbox: Sandbox, tmp_path: Path) -> Iterator[Pipeline]:
    """A DAG that has never run. Whatever the test does to it, no secret may lie in what it leaves behind."""
    yield Pipeline(zygote, sandbox, tmp_path / "dag")
    assert not leaks(tmp_path)
