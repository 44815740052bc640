"""The row of a finding: what decides whether it must be sent, in a fixed number of bytes.

A row stands next to the staged line of its finding, so that a finding that Security Hub already has is recognised
without being decompressed. It holds:

* the *key*, made of the id: 4 bytes for the resource, so that in the order of the keys the findings of a resource are
  adjacent, then 12 bytes for the id. Two of ten million ids share a key with a probability of 10^-15.
* the *content*, a digest of what is material (:data:`MATERIAL_VERSION`; docs/mapping.md says what is);
* asset, plugin, severity, state, ``UpdatedAt`` and when it was first observed.
"""

from __future__ import annotations

import struct
from hashlib import blake2b, blake2s
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

#: Raise this when the mapping changes the digests of findings that did not change themselves, and say so in
#: CHANGELOG.md: every finding of every deployment is sent once more. tests/unit/asff/test_row.py holds digests
#: of this version. 2: threats, and the operating system.
MATERIAL_VERSION = 2
#: The content of a finding of which only the line is known. It equals no other, not even itself.
UNKNOWN_CONTENT = 0

#: Key, content, asset, plugin, flags, ``UpdatedAt``, first observed (both in unix milliseconds).
LAYOUT = struct.Struct("<16sQ16sqBqq")
#: Bits of the flags: the severity is in the lowest three. FIXED: Tenable says so, whatever else the asset is.
ARCHIVED, FIXED = 8, 16
SEVERITY = 7
#: Why a finding is archived, as in ``ProductFields`` and in the ledger -> bit of the flags.
BECAUSE_FIXED, RISK_ACCEPTED = "fixed", "risk_accepted"
ASSET_TERMINATED, ASSET_DELETED = "asset_terminated", "asset_deleted"
#: Of an archived finding that does not say why: an earlier release has staged it.
OTHER_REASON = "other"
BECAUSE = {RISK_ACCEPTED: 32, ASSET_TERMINATED: 64, ASSET_DELETED: 128}

_VERSION_BITS = 56
_VERSION = MATERIAL_VERSION << _VERSION_BITS
_LARGEST_PLUGIN = (1 << 63) - 1
#: Slashes of an id, and after how many of them the part of the resource ends: of a vulnerability by scheme
#: (``identity.id_head``), of an audit of a host (5) and of an account (4: ``asff/compliance``), of a web application
#: (4: ``asff/was``).
_RESOURCE_ENDS = {5: 3, 4: 3, 2: 2}


# Copying a hash is faster than making one. These two are never updated themselves.
_CONTENT, _ID = blake2b(digest_size=7), blake2s(digest_size=12)


def digest(*pieces: bytes) -> bytes:
    """Eight bytes that stand for pieces of a finding."""
    return blake2b(b"\0".join(pieces), digest_size=8).digest()


def content_of(pieces: bytes) -> int:
    """The content of a finding: of the digests of its pieces, and what it has alone. Never :data:`UNKNOWN_CONTENT`."""
    content = _CONTENT.copy()
    content.update(pieces)
    return _VERSION | int.from_bytes(content.digest(), "little")


def version_of(content: int) -> int:
    """The version of the mapping that a content is of; 0 for :data:`UNKNOWN_CONTENT`."""
    return content >> _VERSION_BITS


def of_another_version(contents: Array) -> Array:
    """Which of an array of contents a release with another mapping has made."""
    versions = contents >> contents.dtype.type(_VERSION_BITS)
    return (contents != UNKNOWN_CONTENT) & (versions != MATERIAL_VERSION)


def split_id(finding_id: str) -> tuple[str, str]:
    """An id as resource and what follows; the slashes inside of its parts are escaped."""
    parts = finding_id.split("/")
    end = _RESOURCE_ENDS.get(len(parts) - 1)
    if end is None:
        return finding_id, ""
    return "/".join(parts[:end]) + "/", "/".join(parts[end:])


def resource_key(resource: str) -> bytes:
    """The bytes of a key that stand for the resource."""
    return blake2s(resource.encode("utf-8", "replace"), digest_size=4).digest()


def id_key(finding_id: bytes) -> bytes:
    """The bytes of a key that stand for the id."""
    key = _ID.copy()
    key.update(finding_id)
    return key.digest()


def key_of(finding_id: str) -> bytes:
    """The key of an id."""
    return resource_key(split_id(finding_id)[0]) + id_key(finding_id.encode("utf-8", "replace"))


def asset_key(asset_id: str) -> bytes:
    """Tenable's asset uuid as 16 bytes; a digest of what is not a uuid."""
    try:
        uuid = UUID(asset_id)
    except ValueError:
        return blake2s(asset_id.encode("utf-8", "replace"), digest_size=16).digest()
    return uuid.bytes if str(uuid) == asset_id else blake2s(asset_id.encode(), digest_size=16).digest()


def flags(severity: int, *, archived: bool, fixed: bool, because: str = "") -> int:
    """Severity (0 to 4) and state in a byte.

    :param because: a key of :data:`BECAUSE`, if that is why the finding is archived; of an active one
        :data:`RISK_ACCEPTED`, if it is to be suppressed.
    """
    return severity | (ARCHIVED if archived else 0) | (FIXED if fixed else 0) | BECAUSE.get(because, 0)


def because(flags: int) -> str:
    """Why an archived finding is archived: the reason that its ``ProductFields`` have."""
    for reason, bit in BECAUSE.items():
        if flags & bit:
            return reason
    return BECAUSE_FIXED if flags & FIXED else OTHER_REASON


def has_accepted_risk(flags: Array) -> Array:
    """Of which active findings the risk is accepted, where the run suppresses them. Of archived ones the bit is the
    reason.
    """
    return (flags & BECAUSE[RISK_ACCEPTED]) != 0


def plugin_number(plugin: int) -> int:
    """A plugin's id as the row holds it: Tenable's are small, a hostile one may have any length."""
    return plugin if 0 <= plugin <= _LARGEST_PLUGIN else _LARGEST_PLUGIN
