"""The mistakes that `make mutation` makes can still be made: their text stands in its file once, and the test that
catches each exists.

`make mutation` takes hours, so nobody would notice for long that a variant has become none.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MUTATION = runpy.run_path(str(ROOT / "scripts" / "mutation.py"))
PACKAGE = ROOT / "airflow_provider_tenable"


@pytest.mark.parametrize("variant", MUTATION["KNOWN_BAD"], ids=lambda variant: variant.name)
def test_variant_changes_one_place_and_names_a_test(variant) -> None:
    assert (PACKAGE / variant.file).read_text().count(variant.old) == 1
    assert variant.new != variant.old
    file, name = variant.test.split("[")[0].split("::")
    assert f"def {name}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("module", MUTATION["TARGETS"])
def test_target_and_its_tests_exist(module: str) -> None:
    assert (PACKAGE / f"{module.replace('.', '/')}.py").is_file()
    assert all((ROOT / file).is_file() for file in MUTATION["TARGETS"][module])
