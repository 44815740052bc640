"""Each known mistake is made in a copy of the repository, and the test that it names fails there (`make known-bad`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.known_bad.variants import Variant, run_its_test, variants


@pytest.mark.parametrize("variant", variants(), ids=lambda variant: variant.patch.stem)
def test_variant_is_caught(variant: Variant, tmp_path: Path) -> None:
    ended = run_its_test(variant, tmp_path)
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED, ended.stdout[-3000:] + ended.stderr[-1000:]
    assert " failed" in ended.stdout
