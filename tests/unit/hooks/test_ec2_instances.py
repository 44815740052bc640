"""What a refusal of EC2 says."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from airflow_provider_tenable.assets.placement import Place
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.hooks.ec2_instances import Ec2InstancesHook

PLACE = Place("111122223333", "eu-west-1")


class Client:
    """EC2's client, with answers or errors in their order."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def describe_instances(self, **asked):
        self.asked.append(asked)
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            error = {"Code": answer, "Message": "Encoded authorization failure message: AAAA"}
            raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": 403}}, "DescribeInstances")
        return answer


def hook_of(*answers):
    hook = Ec2InstancesHook(aws_conn_id=None, region_name=PLACE.region, account=PLACE.account)
    hook.__dict__["client"] = Client(*answers)
    return hook


def page(*instances, **more):
    described = [{"InstanceId": each, "Placement": {"AvailabilityZone": "eu-west-1a"}} for each in instances]
    return {"Reservations": [{"OwnerId": PLACE.account, "Instances": described}], **more}


def test_missing_permission_says_which_one():
    with pytest.raises(ConfigurationError, match=r"111122223333.*Allow ec2:DescribeInstances") as raised:
        list(hook_of("UnauthorizedOperation").find(["i-11111111"], PLACE))
    assert "Encoded" not in str(raised.value)


def test_throttling_is_retried_and_all_pages_are_read(monkeypatch):
    monkeypatch.setattr("airflow_provider_tenable.hooks.aws_calls.time.sleep", lambda _: None)
    hook = hook_of("RequestLimitExceeded", page("i-1", NextToken="t"), page("i-2"))
    client = hook.client
    assert [each.instance for each in hook.find(["i-1", "i-2"], PLACE)] == ["i-1", "i-2"]
    assert [each.get("NextToken") for each in client.asked] == [None, None, "t"]
    # An unknown id as InstanceIds would fail the call for all.
    assert all(each["Filters"] == [{"Name": "instance-id", "Values": ["i-1", "i-2"]}] for each in client.asked)
    assert all("InstanceIds" not in each for each in client.asked)


def test_what_ec2_leaves_out_is_empty():
    answer = {"Reservations": [{}, {"Instances": [{}]}]}
    [found] = hook_of(answer).find(["i-1"], PLACE)
    assert found == ("", PLACE, "", "", "")


def test_pages_without_an_end_are_no_answer():
    with pytest.raises(TemporaryError, match="more than 50 pages"):
        list(hook_of(*[page("i-1", NextToken="t")] * 51).find(["i-1"], PLACE))
