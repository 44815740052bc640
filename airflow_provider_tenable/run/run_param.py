"""What a param of a DAG consists of. Free of anything heavy: DAG files import this module while Airflow parses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RunParam:
    """One param of a DAG.

    :ivar schema: JSON Schema of the value, as Airflow's ``Param`` accepts it.
    :ivar title: the label of its field in the trigger form.
    :ivar help: its meaning, in the form and in docs/params.md. Backticks mark code; the form shows the text without
        them.
    :ivar more: sentences that appear only in docs/params.md.
    :ivar shown: the default as docs/params.md shows it; empty: the value itself.
    :ivar covers: whether a run with the first value delivers at least what a run with the second value delivers, in
        the same way. None: the param does not affect what is delivered, or (``since``, ``until``, ``dry_run``) has its
        own rule about the watermark (:mod:`airflow_provider_tenable.run.watermark`).
    """

    default: Any
    schema: Mapping[str, Any]
    title: str
    help: str
    more: str = ""
    shown: str = ""
    covers: Callable[[Any, Any], bool] | None = None


__all__ = ["RunParam"]
