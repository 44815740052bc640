"""Each known mistake is made in a copy of the repository, and the test that it names fails there (`make known-bad`)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.known_bad.variants import Variant, copy_repository, run_its_test, run_tests, variants


def test_without_a_mistake_the_same_tests_pass(tmp_path: Path) -> None:
    """The control: otherwise a test that fails in every copy would seem to notice its mistake."""
    copy_repository(tmp_path)
    named = sorted({variant.test for variant in variants()})
    ended = run_tests(tmp_path, *named)
    assert ended.returncode == pytest.ExitCode.OK, ended.stdout[-3000:] + ended.stderr[-1000:]
    # No test is skipped; a name may stand for several parameters.
    [summary] = re.findall(r"^(?=.* passed).* in [\d.]+s.*$", ended.stdout, re.M)
    assert "skipped" not in summary
    [passed] = re.findall(r"(\d+) passed", summary)
    assert int(passed) >= len(named)


@pytest.mark.parametrize("variant", variants(), ids=lambda variant: variant.patch.stem)
def test_variant_is_caught(variant: Variant, tmp_path: Path) -> None:
    ended = run_its_test(variant, tmp_path)
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED, ended.stdout[-3000:] + ended.stderr[-1000:]
    assert " failed" in ended.stdout
