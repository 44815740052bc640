"""An ARN from outside counts only if all of its parts are AWS's, and agree with what is known from elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.guards.arns import LONGEST_ARN, Arn, arn_of, names_resource
from tests.plain_ids import plain

ACCOUNT, REGION = "111122223333", "eu-west-1"
DB = f"arn:aws:rds:{REGION}:{ACCOUNT}:db:orders"
DIGEST = "sha256:" + "0a" * 32
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/shop/web@{DIGEST}"


@pytest.mark.parametrize(
    ("text", "known", "found"),
    [
        (DB, {}, Arn(DB, "rds", REGION, ACCOUNT, "db:orders")),
        (DB, {"account": ACCOUNT, "region": REGION}, Arn(DB, "rds", REGION, ACCOUNT, "db:orders")),
        (
            "arn:aws:s3:::logs",
            {"account": ACCOUNT, "region": REGION},
            Arn("arn:aws:s3:::logs", "s3", REGION, ACCOUNT, "logs"),
        ),
        (
            f"arn:aws-cn:rds:cn-north-1:{ACCOUNT}:db:x",
            {},
            Arn(f"arn:aws-cn:rds:cn-north-1:{ACCOUNT}:db:x", "rds", "cn-north-1", ACCOUNT, "db:x"),
        ),
        (
            IMAGE,
            {},
            Arn(
                f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/shop/web/{DIGEST}",
                "ecr",
                REGION,
                ACCOUNT,
                f"repository/shop/web/{DIGEST}",
            ),
        ),
        (
            f"{ACCOUNT}.dkr.ecr-fips.us-gov-west-1.amazonaws.com/web@{DIGEST}",
            {},
            Arn(
                f"arn:aws-us-gov:ecr:us-gov-west-1:{ACCOUNT}:repository/web/{DIGEST}",
                "ecr",
                "us-gov-west-1",
                ACCOUNT,
                f"repository/web/{DIGEST}",
            ),
        ),
        (
            "vol-0123456789abcdef0",
            {"account": ACCOUNT, "region": REGION},
            Arn(
                f"arn:aws:ec2:{REGION}:{ACCOUNT}:volume/vol-0123456789abcdef0",
                "ec2",
                REGION,
                ACCOUNT,
                "volume/vol-0123456789abcdef0",
            ),
        ),
    ],
)
def test_a_resource_has_a_name_an_account_and_a_region(text, known, found):
    assert arn_of(text, **known) == found


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("", {}),
        ("orders", {}),
        ("arn", {}),
        ("arn:aws:rds", {}),
        ("arn:aws:rds:::db:orders", {}),
        ("arn:aws:s3:::logs", {"account": ACCOUNT}),
        ("arn:aws:s3:::logs", {"region": REGION}),
        ("vol-0123456789abcdef0", {}),
        ("vol-0123456789abcdef0", {"account": ACCOUNT}),
        ("vol-0123456789abcdefg", {"account": ACCOUNT, "region": REGION}),
        # EC2 instances are known by their instance ids.
        (f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0123456789abcdef0", {}),
        ("i-0123456789abcdef0", {"account": ACCOUNT, "region": REGION}),
        # Contradictions.
        (DB, {"account": "444455556666"}),
        (DB, {"region": "us-east-1"}),
        (f"arn:aws-cn:rds:{REGION}:{ACCOUNT}:db:orders", {}),
        (f"arn:aws:rds:cn-north-1:{ACCOUNT}:db:orders", {}),
        ("arn:aws-cn:s3:::logs", {"account": ACCOUNT, "region": REGION}),
        # Wrong parts.
        (f"ARN:aws:rds:{REGION}:{ACCOUNT}:db:orders", {}),
        (f"xarn:aws:rds:{REGION}:{ACCOUNT}:db:orders", {}),
        (f"arn::rds:{REGION}:{ACCOUNT}:db:orders", {}),
        (f"arn:aws::{REGION}:{ACCOUNT}:db:orders", {}),
        (f"arn:aws:r\nds:{REGION}:{ACCOUNT}:db:orders", {}),
        (f"arn:aws:rds:europe:{ACCOUNT}:db:orders", {}),
        (f"arn:aws:rds:{REGION}:11112222333:db:orders", {}),
        (f"arn:aws:rds:{REGION}:{ACCOUNT}\n:db:orders", {}),
        (DB.replace(ACCOUNT, "\u0661" * 12), {}),
        (f"arn:aws:rds:{REGION}:{ACCOUNT}:", {}),
        (f"arn:aws:rds:{REGION}:{ACCOUNT}:db:*", {}),
        (f"arn:aws:rds:{REGION}:{ACCOUNT}:db:<b>orders</b>", {}),
        (f"arn:aws:rds:{REGION}:{ACCOUNT}:db:orders {DB}", {}),
        (f"arn:aws:rds:{REGION}:{ACCOUNT}:db:\x1b[31mred", {}),
        (f"{DB}\n", {}),
        # A tag can be moved to another image.
        (f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/shop/web:latest", {}),
        (f"{ACCOUNT}.dkr.ecr.nowhere.amazonaws.com/web@{DIGEST}", {}),
        (f"x{IMAGE}", {}),
        (DB + "x" * LONGEST_ARN, {}),
        # It would make the id of a finding too long.
        (f"arn:aws:rds:{REGION}:{ACCOUNT}:db:" + "/" * 150, {}),
    ],
    ids=plain,
)
def test_what_is_not_certainly_a_resource_is_none(text, known):
    assert arn_of(text, **known) is None


def test_a_name_may_be_as_long_as_the_id_of_a_finding_has_room_for():
    longest = f"arn:aws:sqs:{REGION}:{ACCOUNT}:" + "x" * (380 - len("sqs%3A"))
    assert arn_of(longest) is not None
    assert arn_of(longest + "x") is None


def test_what_is_known_as_empty_is_not_known():
    assert arn_of(DB, account="", region="") == arn_of(DB)
    assert arn_of("vol-0123456789abcdef0", account="", region=REGION) is None


def test_what_looks_like_a_name_is_found_quickly_and_nothing_else_is():
    assert names_resource(DB)
    assert names_resource(IMAGE)
    assert names_resource("arn:nonsense")
    assert not any(map(names_resource, ("", "web-1", "learn:it", "10.0.0.1", "vol-0123456789abcdef0")))


_parts = st.sampled_from(["arn", "aws", "rds", "s3", "", REGION, ACCOUNT, "db", "<", "*"])


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=80),
        st.builds(":".join, st.lists(_parts)),
        st.builds(DB.__add__, st.text(max_size=600)),
    ),
    st.sampled_from([None, "", ACCOUNT, "444455556666", "a" * 64]),
    st.sampled_from([None, "", REGION, "us-gov-west-1", "x"]),
)
def test_whatever_is_found_is_whole_and_agrees(text, account, region):
    found = arn_of(text, account=account, region=region)
    if found is None:
        return
    assert found.account in (account, ACCOUNT)
    assert len(found.account) == 12
    assert account in (None, "", found.account)
    assert region in (None, "", found.region)
    assert len(found.text) <= LONGEST_ARN
    assert found.text.isascii()
    assert found.text.isprintable()
    assert " " not in found.text
    # Another ARN has another account, Region or name.
    assert arn_of(found.text, account=found.account, region=found.region) == found
    assert found.text.endswith(f":{found.resource}")
