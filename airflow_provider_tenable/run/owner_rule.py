"""``[tenable] owners``: the rule by which findings get an owner."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from airflow_provider_tenable import config
from airflow_provider_tenable.asff.owner import OwnerRule, cleaned
from airflow_provider_tenable.aws import ACCOUNT
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted

#: Keys of tags, and categories, at most.
_MOST_NAMES = 20
_NAMES, _ACCOUNTS, _DEFAULT = ("resource_tags", "tag_categories"), "accounts", "default"


def owner_rule() -> OwnerRule | None:
    """The rule; None where findings have no owner.

    :raises ConfigurationError: the option is not such a rule; the text says why.
    """
    text = config.get("owners")
    if not text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise _wrong(text, "it is not JSON") from None
    if not isinstance(value, dict) or not value:
        raise _wrong(text, f"it must be an object with {', '.join((*_NAMES, _ACCOUNTS, _DEFAULT))}")
    rule: dict[str, Any] = {}
    for name, given in value.items():
        if name in _NAMES:
            rule[name] = _names(text, name, given)
        elif name == _ACCOUNTS:
            rule[name] = _accounts(text, given)
        elif name == _DEFAULT:
            if not _is_owner(given):
                raise _wrong(text, "default must be the name of an owner")
            rule[name] = cleaned(given)
        else:
            raise _wrong(text, f"it has {quoted(name, 80)}; it may have {', '.join((*_NAMES, _ACCOUNTS, _DEFAULT))}")
    return OwnerRule(**rule)


def owners_of_scope() -> Any:
    """The rule as a part of a DAG's scope; empty where there is none. :raises ConfigurationError: as above."""
    rule = owner_rule()
    return "" if rule is None else msgspec.to_builtins(rule)


def _names(text: str, name: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(each, str) and each.strip() for each in given):
        raise _wrong(text, f"{name} must be a list of names of tags")
    if len(given) > _MOST_NAMES:
        raise _wrong(text, f"{name} has {len(given)} names; {_MOST_NAMES} are possible")
    return tuple(dict.fromkeys(given))


def _accounts(text: str, given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        raise _wrong(text, "accounts must be an object: 12 digits to an owner")
    for account, owner in given.items():
        if not ACCOUNT.fullmatch(account) or not _is_owner(owner):
            raise _wrong(text, f"accounts has {quoted({account: owner}, 120)}; it maps 12 digits to an owner")
    return {account: cleaned(owner) for account, owner in given.items()}


def _is_owner(value: Any) -> bool:
    return isinstance(value, str) and bool(cleaned(value))


def _wrong(text: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"Option [tenable] owners is {quoted(text, 200)}: {why}. Correct AIRFLOW__TENABLE__OWNERS or the option in "
        f"airflow.cfg, for example {config.OPTIONS['owners'].example}, or leave it empty for findings without owners."
    )


__all__ = ["owner_rule", "owners_of_scope"]
