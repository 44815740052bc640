"""Reads records that do not fit their types: field by field, leaving out what cannot be used."""

from __future__ import annotations

import json
import math
import types
import typing
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from airflow_provider_tenable.guards.foreign_text import safe

_T = TypeVar("_T", bound=Struct)


def salvage(data: bytes, record: type[_T]) -> _T:
    """Read one record field by field, leaving out what does not fit.

    :raises ValueError: a field that the record cannot be without is missing or unusable; the text names it.
    """
    value = loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"not an object but {type(value).__name__}")
    return typing.cast(_T, _struct(_clean(value), record, ""))


def loads(data: bytes) -> Any:
    """JSON as Python's own parser reads it, which accepts text that is not valid Unicode: lone surrogates, and bytes
    that are not valid UTF-8, which become lone surrogates.

    NaN, infinities, and numbers outside the range that we can use become None.
    """

    def integer(digits: str) -> int | None:
        return int(digits) if len(digits) < 20 else None

    def number(digits: str) -> float | None:
        value = float(digits)
        return value if math.isfinite(value) else None

    return json.loads(
        data.decode("utf-8", "surrogateescape"), parse_int=integer, parse_float=number, parse_constant=lambda _: None
    )


def salvage_items(data: bytes, item: type[_T]) -> list[_T]:
    """Read a list, leaving out the items that cannot be used; empty if it is not a list."""
    value = loads(data)
    return (
        [converted for element in value if (converted := _or_none(_clean(element), item, "")) is not None]
        if isinstance(value, list)
        else []
    )


def _clean(value: Any) -> Any:
    """Replace lone surrogates, which no UTF-8 can carry."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


def _struct(value: Any, record: type[Struct], path: str) -> Struct:
    if not isinstance(value, dict):
        raise ValueError(f"not an object but {type(value).__name__}")
    arguments: dict[str, Any] = {}
    for field in msgspec.structs.fields(record):
        name = f"{path}{field.name}"
        if value.get(field.encode_name) is None:
            if field.required:
                raise ValueError(f"{name} is missing")
            continue
        try:
            arguments[field.name] = _convert(value[field.encode_name], field.type, f"{name}.")
        except (ValueError, TypeError, OverflowError) as error:
            if field.required:
                raise ValueError(f"{name} cannot be used: {safe(error)}") from None
    return record(**arguments)


def _convert(value: Any, wanted: Any, path: str) -> Any:
    if wanted is msgspec.Raw:
        return msgspec.Raw(msgspec.json.encode(value))
    if isinstance(wanted, type) and issubclass(wanted, Struct):
        return _struct(value, wanted, path)
    origin, options = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is list:
        if not isinstance(value, list):
            raise ValueError("not a list")
        return [item for item in (_or_none(element, options[0], path) for element in value) if item is not None]
    if origin in (typing.Union, types.UnionType):
        for option in options:
            if option is not type(None):
                converted = _or_none(value, option, path)
                if converted is not None:
                    return converted
        raise ValueError("none of the allowed types fits")
    try:
        return msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError as error:
        # A ValueError only since msgspec 0.22.
        raise ValueError(str(error)) from None


def _or_none(value: Any, wanted: Any, path: str) -> Any:
    try:
        return _convert(value, wanted, path)
    except (ValueError, TypeError, OverflowError):
        return None
