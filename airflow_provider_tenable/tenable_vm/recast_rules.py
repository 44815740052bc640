"""Accept rules: list those that this package has made, and create one.

Made with pyTenable's general calls: its own ``recast_rules`` exists since pyTenable 26 only, and sends no filter.

.. seealso:: https://developer.tenable.com/reference/recast-rules-create
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.exceptions import ConflictError, TemporaryError, TenableProviderError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.uuids import is_uuid
from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.calls import Caller, Special
from airflow_provider_tenable.tenable_vm.json_fields import object_in, objects_in

if TYPE_CHECKING:
    from tenable.io import TenableIO

NEEDS = (
    "the role Administrator, or a custom role that may read and create recast rules (VM.VM_RECAST.VM_RECAST.READ and "
    "CREATE)"
)
#: Characters of a rule's name and description at most (API reference).
LONGEST = 1024
_PAGE, _MOST_PAGES = 500, 200
#: By this mark at the end of its name a rule is found again.
_MARK = re.compile(r"\[airflow ([0-9a-f]{24})\]$", re.ASCII)


@dataclass(frozen=True)
class Condition:
    """A property of findings, and the value that it must have."""

    property: str
    value: str


@dataclass(frozen=True)
class AcceptRule:
    """An accept rule to be created.

    :ivar key: 24 hexadecimal digits, by which it is found again.
    :ivar title: what its name begins with; one line.
    :ivar description: one line. ``comment``: likewise; shown as the reason of findings.
    :ivar expires_at: unix seconds.
    """

    key: str
    title: str
    description: str
    comment: str
    conditions: Sequence[Condition]
    expires_at: float

    @property
    def body(self) -> dict[str, Any]:
        """The request that creates it."""
        mark = f" [airflow {self.key}]"
        conditions = [{"property": each.property, "operator": "eq", "value": [each.value]} for each in self.conditions]
        return {
            "resource_type": "HOST",
            "rule_name": safe(self.title, LONGEST - len(mark)) + mark,
            "description": safe(self.description, LONGEST),
            "rule_value": {"action": "ACCEPT", "comment": safe(self.comment, LONGEST)},
            "filter": {"and": conditions},
            "expires_at": times.utc(int(self.expires_at)),
        }


class RecastRulesApi:
    """Calls about recast rules. Parameters as in :class:`~.scans.ScansApi`."""

    def __init__(self, client: TenableIO, *, once: TenableIO, name: str) -> None:
        self._client = client
        self._once = once
        self._calls = Caller(client, name=name, needs=NEEDS)
        self._calls_once = Caller(once, name=name, needs=NEEDS, repeats=0)

    def ours(self) -> dict[str, bool]:
        """The accept rules of this package: key -> whether the rule is still in force as far as Tenable says.

        :raises TemporaryError: the list cannot be read to its end.
        """
        found: dict[str, bool] = {}
        token: str | None = None
        for _ in range(_MOST_PAGES):
            body: dict[str, Any] = {"resource_type": ["HOST"], "limit": _PAGE}
            if token is not None:
                body["next"] = token
            answer = self._calls.json("list the recast rules", self._client.post, "v1/recast/rules/search", json=body)
            for rule in objects_in(answer, "rules", "recast rules"):
                name, disabled = rule.get("rule_name"), rule.get("disabled_details")
                mark = _MARK.search(name) if isinstance(name, str) else None
                if mark and isinstance(rule.get("rule_value"), dict) and rule["rule_value"].get("action") == "ACCEPT":
                    off = isinstance(disabled, dict) and disabled.get("disabled") is True
                    found[mark[1]] = found.get(mark[1], False) or not off
            pages = answer.get("pagination")
            following = pages.get("next") if isinstance(pages, dict) else None
            if following is None or following == "":
                return found
            if not isinstance(following, str) or following == token:
                break
            token = following
        raise TemporaryError("Tenable's list of recast rules does not end.")

    def accept(self, rule: AcceptRule) -> bool:
        """Create a rule. :return: whether it is new; Tenable refuses one that exists.

        :raises TemporaryError: it is not known whether the rule was created; :meth:`ours` says so later.
        """

        def duplicate(status: int, text: str) -> TenableProviderError | None:
            return ConflictError("The rule exists.") if status == 400 and "duplicate" in text.lower() else None

        try:
            answer = self._calls_once.json(
                f"create the accept rule {safe(rule.title, 200)!r}",
                self._once.post,
                "v1/recast/rules",
                special=Special(error_of=duplicate),
                json=rule.body,
            )
        except ConflictError:
            return False
        created = object_in(answer, "the accept rule")
        value = created.get("rule_value")
        if not is_uuid(created.get("rule_id")) or not isinstance(value, dict) or value.get("action") != "ACCEPT":
            raise TemporaryError("Tenable's response to the creation of an accept rule is not that rule.")
        return True


__all__ = ["LONGEST", "NEEDS", "AcceptRule", "Condition", "RecastRulesApi"]
