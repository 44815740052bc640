"""Who owns a resource, by a rule of the deployment: the entry ``owner`` of ``ProductFields``, by which findings are
routed (``[tenable] owners``).

The rule looks at what a finding says of its resource anyhow: tags of the AWS resource, Tenable's tags, the account. It
is applied once for each resource, not for each finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff import limits, product_fields
from airflow_provider_tenable.asff import row as finding_row
from airflow_provider_tenable.asff.resource import Resource
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow

OWNER = "owner"
#: Characters of an owner at most: as many as the value of a tag in AWS.
LONGEST_OWNER = limits.RESOURCE_TAG_VALUE


class OwnerRule(Struct, frozen=True):
    """Where owners come from; the first source that names one counts.

    :ivar resource_tags: keys of tags of the AWS resource, in the order in which they are asked for.
    :ivar tag_categories: categories of Tenable's tags, likewise.
    :ivar accounts: AWS account -> owner.
    :ivar default: the owner where none of them names one; empty: such findings have no owner.
    """

    resource_tags: tuple[str, ...] = ()
    tag_categories: tuple[str, ...] = ()
    accounts: Mapping[str, str] = {}
    default: str = ""

    def owner_of(self, row: AssetRow | None, account: str | None) -> str:
        """The owner of an asset's findings; empty where there is none.

        :param row: the asset; None where only the account is known.
        :param account: the AWS account of its findings.
        """
        candidates: list[str] = []
        if row is not None:
            of_aws = msgspec.json.decode(row.resource_tags, type=dict[str, str]) if self.resource_tags else {}
            candidates += [of_aws.get(key, "") for key in self.resource_tags]
            of_tenable = msgspec.json.decode(row.tags, type=dict[str, list[str]]) if self.tag_categories else {}
            # Tenable does not promise an order of the values of a category.
            candidates += [_first(of_tenable.get(category, ())) for category in self.tag_categories]
        candidates += [self.accounts.get(account or "", ""), self.default]
        return next(filter(None, map(cleaned, candidates)), "")


def cleaned(value: str) -> str:
    """An owner as one line without anything that cannot be printed; empty where nothing is left.

    Characters that cannot be seen (zero width, bidirectional overrides) would make two owners of what looks like one.
    """
    text = value[: 8 * LONGEST_OWNER]
    if not text.isprintable():
        # Before white space becomes one space: there may be some on both sides of what cannot be seen.
        text = "".join(each for each in text if each.isprintable() or each.isspace())
    line = " ".join(text.split())
    return limits.text(line, LONGEST_OWNER) or ""


def _first(values: Iterable[str]) -> str:
    return min(filter(None, map(cleaned, values)), default="")


def owner_product_fields(fields: Mapping[str, str], owner: str) -> dict[str, str]:
    """The entries of a resource with its owner: after the names of the asset, before what describes it."""
    named = {name: value for name, value in fields.items() if name in ("asset_uuid", "asset_name")}
    return {**named, "owner": owner, **fields}


def with_owner(resource: Resource, owner: str) -> Resource:
    """A resource whose findings have an owner; without one it stays as it is, to the byte.

    :param resource: it is changed.
    """
    if owner:
        resource.product_fields = owner_product_fields(resource.product_fields, owner)
        resource.encoded_product_fields = product_fields.piece(resource.product_fields)
        resource.material = finding_row.digest(resource.material, owner.encode())
    return resource


__all__ = ["LONGEST_OWNER", "OWNER", "OwnerRule", "cleaned", "owner_product_fields", "with_owner"]
