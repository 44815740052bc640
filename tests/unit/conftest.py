"""For all unit tests: botocore reads the descriptions of its services once."""

from __future__ import annotations

from tests import botocore_models

botocore_models.share()
