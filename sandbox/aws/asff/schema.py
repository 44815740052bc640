"""Turns the public API model and our table of rules into checks, once, so that a finding is checked in a single pass.

The API model comes with botocore: it names every member of a finding and its type. The rest is in `rules.py`.
"""

from functools import lru_cache
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape

from sandbox.aws.asff import rules
from sandbox.aws.asff.checks import (
    Check,
    Errors,
    boolean_check,
    number_check,
    pairs_check,
    range_check,
    text_check,
    timestamp_check,
    under,
)
from sandbox.aws.asff.rules import ALSO_REQUIRED, ANY_OF, NOT_IMPORTABLE, RULES, Items, Pairs, Range, Rule, Text


@lru_cache(maxsize=1)
def service_model() -> ServiceModel:
    """The public model of the Security Hub API, as botocore ships it."""
    session: Any = botocore.session.get_session()
    model: ServiceModel = session.get_service_model("securityhub")
    return model


@lru_cache(maxsize=8)
def shape_check(shape_name: str) -> Check:
    """The check of a complete shape of the API model, e.g. `AwsSecurityFinding` or `BatchUpdateFindingsRequest`."""
    return _compile(service_model().shape_for(shape_name), "", None)


def _compile(shape: Shape, name: str, rule: Rule | None) -> Check:
    """:param name: `Shape.Member` of the place in its parent"""
    if isinstance(shape, StructureShape):
        return _structure(shape)
    if isinstance(shape, ListShape):
        return _list(shape, rule if isinstance(rule, Items) else Items())
    if isinstance(shape, MapShape):
        return pairs_check(rule) if isinstance(rule, Pairs) else _map(shape)
    match shape.type_name:
        case "string":
            return _string(shape, name, rule if isinstance(rule, Text) else None)
        case "integer" | "long":
            return range_check(_bounds(shape, rule))
        case "double" | "float":
            return number_check
        case "boolean":
            return boolean_check
        case "timestamp":
            return timestamp_check
    raise TypeError(f"No check for {shape.type_name} at {name}.")


def _bounds(shape: Shape, rule: Rule | None) -> Range | None:
    if isinstance(rule, Range):
        return rule
    metadata: dict[str, Any] = dict(shape.metadata)
    return Range(metadata["min"], metadata["max"]) if "max" in metadata else None


def _string(shape: Shape, name: str, rule: Text | None) -> Check:
    if rule is None and (name.endswith(rules.TIMESTAMP_SUFFIX) or name in rules.TIMESTAMPS):
        return timestamp_check
    rule = rule or Text()
    if isinstance(shape, StringShape) and shape.enum:
        rule = Text(rule.longest, rule.shortest, tuple(shape.enum), rule.pattern, rule.format)
    return text_check(rule)


def _list(shape: ListShape, rule: Items) -> Check:
    member = shape.member
    each = _compile(member, "", rule.each)
    most, fewest = rule.most, rule.fewest

    def check(value: Any, path: str, errors: Errors) -> None:
        if type(value) is not list:
            errors.append(f"{path} should be array")
            return
        if len(value) < fewest:
            errors.append(f"{path} should NOT have fewer than {fewest} items")
        elif most is not None and len(value) > most:
            errors.append(f"{path} should NOT have more than {most} items")
        for index, item in enumerate(value):
            each(item, f"{path}[{index}]", errors)

    return check


def _map(shape: MapShape) -> Check:
    each = _compile(shape.value, "", None)

    def check(value: Any, path: str, errors: Errors) -> None:
        if type(value) is not dict:
            errors.append(f"{path} should be object")
            return
        for key, item in value.items():
            each(item, under(path, key), errors)

    return check


def _structure(shape: StructureShape) -> Check:
    forbidden = NOT_IMPORTABLE.get(shape.name, frozenset())
    members = {
        key: _compile(member, f"{shape.name}.{key}", RULES.get(f"{shape.name}.{key}"))
        for key, member in shape.members.items()
        if key not in forbidden
    }
    required = (*shape.required_members, *ALSO_REQUIRED.get(shape.name, ()))
    any_of = ANY_OF.get(shape.name, ())

    def check(value: Any, path: str, errors: Errors) -> None:
        if type(value) is not dict:
            errors.append(f"{path} should be object")
            return
        for key in required:
            if key not in value:
                errors.append(f"{path} should have required property '{key}'")
        if any_of and not any(all(key in value for key in group) for group in any_of):
            errors.append(f"{path} should have required property '{any_of[0][0]}'")
            errors.append(f"{path} should match some schema in anyOf")
        for key, item in value.items():
            member = members.get(key)
            if member is None:
                errors.append(f"{path} should NOT have additional properties")
            else:
                member(item, f"{path}.{key}", errors)

    return check
