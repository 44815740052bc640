"""The mistakes in `tests/known_bad` can still be made: each patch applies, and the test that catches it exists.

`make known-bad` makes them; this test says within seconds that a patch no longer applies.
"""

from __future__ import annotations

import shutil

import pytest

from tests.known_bad.variants import ROOT, Variant, apply, variants

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is needed to apply a patch")


@pytest.mark.parametrize("variant", variants(), ids=lambda variant: variant.patch.stem)
def test_patch_applies_and_names_a_test(variant: Variant) -> None:
    checked = apply(variant, ROOT, "--check")
    assert checked.returncode == 0, f"Create the patch again: {checked.stderr}"
    assert variant.file.startswith("airflow_provider_tenable/")
    file, name = variant.test.split("[")[0].split("::")
    assert f"def {name}(" in (ROOT / file).read_text()


def test_patch_that_does_not_apply_is_noticed(tmp_path) -> None:
    (tmp_path / "airflow_provider_tenable").mkdir()
    assert apply(variants()[0], tmp_path, "--check").returncode != 0
