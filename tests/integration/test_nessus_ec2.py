"""A scanner on EC2 from its prerequisites to its removal: real operators and hooks, a real moto server, the sandbox's
Tenable, and machines that run the user data that was sent.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable._compat import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
    complete_message,
)
from airflow_provider_tenable.exceptions import ConflictError, TemporaryError
from airflow_provider_tenable.hooks.nessus_ec2 import NessusEc2Hook
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators import nessus_link
from airflow_provider_tenable.operators.nessus_link import NessusLinkScannerOperator, TenableStoreLinkingKeyOperator
from airflow_provider_tenable.scan import instances
from sandbox.tenable.access import NO_MANAGE
from sandbox.tenable.scanners import LINKING_KEY
from tests.aws_services import IMAGE, REGION, AwsServices, refuse, respond
from tests.failing import fails_at_once
from tests.integration.conftest import connect
from tests.integration.scanner_tasks import (
    AWS,
    context,
    create,
    deferred,
    fire,
    new_name,
    prerequisites,
    sensor,
    terminate,
)
from tests.sandbox_driver import Sandbox


@pytest.fixture
def aws(aws_services: AwsServices, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AwsServices:
    connect(monkeypatch, "nessus_aws", aws_services.connection())
    return aws_services


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nothing here waits for AWS; what would, says for how long."""
    slept: list[float] = []
    for module in ("nessus_ec2", "nessus_terminate", "nessus_link"):
        monkeypatch.setattr(f"airflow_provider_tenable.operators.{module}.time.sleep", slept.append)
    return slept


Logged = Callable[[], str]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Logged:
    """Everything that was logged, by the libraries too: Airflow 3 writes a task's own lines to its output."""
    caplog.set_level(logging.DEBUG)

    def text() -> str:
        output = capsys.readouterr()
        return caplog.text + output.out + output.err

    return text


def made(name: str, **arguments: Any) -> dict[str, Any]:
    """A scanner's instance with everything that it needs."""
    return create(name, prerequisites=prerequisites(name).execute(context()), **arguments).execute(context())


class TestLife:
    def test_a_scanner_is_created_links_itself_and_is_removed(
        self, aws: AwsServices, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        name = new_name()
        needed = prerequisites(name).execute(context())
        assert needed["created"] == [
            f"role {needed['role']}",
            f"instance profile {needed['instance_profile']}",
            f"security group {needed['role']}",
        ]
        given = context()
        scanner = create(name, prerequisites=needed).execute(given)
        assert scanner["created"] is True
        assert scanner["image_id"] == IMAGE, "the newest of the product"
        assert abs(scanner["launched_at"] - time.time()) < 120
        assert given["ti"].pushed["nessus_instance_url"] == (
            f"https://{REGION}.console.aws.amazon.com/ec2/home?region={REGION}"
            f"#InstanceDetails:instanceId={scanner['instance_id']}"
        )
        assert aws.boot(scanner["instance_id"], sandbox, tmp_path / "machine", created=int(time.time()))
        # Tenable's clock in the sandbox is three days behind.
        online = sensor(scanner=scanner, since=time.time() - 4 * 86_400).execute(context())
        assert online["name"] == name
        assert online["plugin_set"]
        assert terminate(scanner={**scanner, "uuid": online["uuid"]}).execute(context()) == {
            "deleted": True,
            "terminated": True,
            "left": [],
        }
        assert aws.instances(name) == []
        with TenableScanners() as found:
            assert name not in found
        with aws.client("iam") as iam:
            assert needed["role"] not in [role["RoleName"] for role in iam.list_roles()["Roles"]]
        # Again: everything is gone, and that is fine.
        assert terminate(name=name).execute(context()) == {"deleted": False, "terminated": False, "left": []}

    def test_what_was_launched_is_as_the_guide_and_security_want_it(self, aws: AwsServices) -> None:
        name = new_name()
        scanner = made(name, tags={"team": "security"}, volume_gb=60, aws_scanner=True)
        [instance] = aws.instances(name)
        assert instance["InstanceType"] == "m5.xlarge"
        # The moto of Airflow 2.11's pins does not return them.
        assert instance.get("MetadataOptions", {"HttpTokens": "required"})["HttpTokens"] == "required"
        tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
        assert (
            tags
            == {
                "Name": name,
                "tenable:scanner": name,
                "managed-by": "airflow-provider-tenable",
                "airflow:dag_id": "adhoc_airflow",
                "airflow:task_id": "create",
                "team": "security",
            }
            or tags["tenable:scanner"] == name
        )
        with aws.client("ec2") as ec2:
            [volume] = ec2.describe_volumes(
                Filters=[{"Name": "attachment.instance-id", "Values": [scanner["instance_id"]]}]
            )["Volumes"]
            [group] = ec2.describe_security_groups(GroupIds=[instance["SecurityGroups"][0]["GroupId"]])[
                "SecurityGroups"
            ]
        assert (volume["Encrypted"], volume["Size"]) == (True, 60)
        assert group["IpPermissions"] == []
        script = aws.user_data(scanner["instance_id"])
        assert "AWS_SCANNER=yes" in script
        assert LINKING_KEY not in script
        with aws.client("ssm") as ssm:
            stored = ssm.get_parameter(Name=f"/tenable/linking-key/{name.replace(' ', '-')}", WithDecryption=True)
        assert (stored["Parameter"]["Type"], stored["Parameter"]["Value"]) == ("SecureString", LINKING_KEY)

    def test_a_machine_may_read_its_own_key_and_no_other(self, aws: AwsServices) -> None:
        name = new_name()
        role = prerequisites(name, further_secrets=["secret:proxy"]).execute(context())["role"]
        with aws.client("iam") as iam:
            document = iam.get_role_policy(RoleName=role, PolicyName="read-linking-key")["PolicyDocument"]
            attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        assert [(each["Action"], each["Resource"]) for each in document["Statement"]] == [
            (
                "ssm:GetParameter",
                f"arn:aws:ssm:{REGION}:123456789012:parameter/tenable/linking-key/{name.replace(' ', '-')}",
            ),
            ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:123456789012:secret:proxy-??????"),
        ]
        assert [each["PolicyName"] for each in attached] == ["AmazonEC2ReadOnlyAccess"]

    def test_a_second_scanner_of_the_name_is_adopted(self, aws: AwsServices) -> None:
        name = new_name()
        first, second = made(name), made(name)
        assert (first["created"], second["created"]) == (True, False)
        assert second["instance_id"] == first["instance_id"]
        assert len(aws.instances(name)) == 1
        assert prerequisites(name).execute(context())["created"] == []

    def test_two_machines_of_one_scanner_are_named(self, aws: AwsServices) -> None:
        name = new_name()
        first = made(name)
        with aws.client("ec2") as ec2:
            answer = ec2.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1)
            second = answer["Instances"][0]["InstanceId"]
            ec2.create_tags(Resources=[second], Tags=[{"Key": "tenable:scanner", "Value": name}])
        ids = " and ".join(sorted([first["instance_id"], second]))
        for task in (create(name), terminate(name=name)):
            with pytest.raises(
                AirflowFailException, match=f"Instances {ids} both carry tag tenable:scanner={name}. Terminate one"
            ):
                task.execute(context())
        assert len(aws.instances(name)) == 2

    def test_deferred_and_resumed(self, aws: AwsServices, monkeypatch: pytest.MonkeyPatch) -> None:
        name = new_name()
        needed = prerequisites(name).execute(context())
        ready: list[bool] = [False]
        real = instances.is_ready
        monkeypatch.setattr(instances, "is_ready", lambda hook, instance: ready[0] and real(hook, instance))
        left = deferred(create(name, prerequisites=needed, deferrable=True), context())
        ready[0] = True
        event = fire(left.trigger, monkeypatch)
        assert event == {"instance_id": left.kwargs["instance_id"], "ready": True}
        for word in (event, None):
            resumed = create(name, prerequisites=needed, deferrable=True).execute_complete(
                context(), word, **left.kwargs
            )
            assert (resumed["created"], resumed["instance_id"]) == (True, left.kwargs["instance_id"])
        assert len(aws.instances(name)) == 1

    def test_an_instance_that_stops_at_once_fails_the_task(
        self, aws: AwsServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = new_name()
        scanner = made(name)
        with aws.client("ec2") as ec2:
            ec2.stop_instances(InstanceIds=[scanner["instance_id"]])
        with pytest.raises(AirflowFailException, match=f"Instance {scanner['instance_id']} is stopped"):
            create(name).execute(context())
        left = deferred_trigger(scanner["instance_id"])
        assert "is stopped" in fire(left, monkeypatch)["message"]

    def test_an_instance_that_is_not_ready_in_time(self, aws: AwsServices, monkeypatch: pytest.MonkeyPatch) -> None:
        name = new_name()
        needed = prerequisites(name).execute(context())
        monkeypatch.setattr(instances, "is_ready", lambda *_: False)
        task = create(name, prerequisites=needed, waiter_max_attempts=0)
        with pytest.raises(TemporaryError, match="has not passed EC2's status checks in time"):
            task.execute(context())
        assert len(aws.instances(name)) == 1
        with pytest.raises(TemporaryError):
            # This task has not launched it, so it does not terminate it.
            create(name, waiter_max_attempts=0, terminate_on_failure=True).execute(context())
        assert len(aws.instances(name)) == 1
        other = new_name()
        with pytest.raises(TemporaryError):
            create(other, waiter_max_attempts=0, terminate_on_failure=True).execute(context())
        assert aws.instances(other) == []

    @pytest.mark.parametrize("terminates", [False, True])
    def test_a_stopped_task_keeps_its_instance_unless_told_otherwise(
        self, aws: AwsServices, monkeypatch: pytest.MonkeyPatch, terminates: bool
    ) -> None:
        name = new_name()
        task = create(name, terminate_on_kill=terminates)
        task.execute(context())
        task.on_kill()
        assert len(aws.instances(name)) == (0 if terminates else 1)
        if not terminates:
            # An adopted one is not this try's own.
            later = create(name, terminate_on_kill=True)
            later.execute(context())
            later.on_kill()
            assert len(aws.instances(name)) == 1

    def test_dry_run_creates_nothing(self, aws: AwsServices, logged: Logged) -> None:
        name = new_name()
        assert prerequisites(name, dry_run=True).execute(context())["created"] == []
        assert create(name, dry_run=True).execute(context()) == {}
        assert aws.instances(name, alive=False) == []
        with aws.client("iam") as iam:
            assert f"nessus-{name.replace(' ', '-')}" not in [role["RoleName"] for role in iam.list_roles()["Roles"]]
        assert f"would create role nessus-{name.replace(' ', '-')}" in (text := logged())
        assert f"would launch m5.xlarge with image {IMAGE}" in text


def deferred_trigger(instance_id: str) -> Any:
    from airflow_provider_tenable.triggers.nessus_ec2 import NessusInstanceTrigger

    return NessusInstanceTrigger(
        aws_conn_id="nessus_aws",
        region_name=None,
        instance_id=instance_id,
        poll_interval=1,
        deadline=time.time() + 60,
    )


class TenableScanners:
    """The names that Tenable lists."""

    def __enter__(self) -> list[str]:
        self.hook = TenableHook()
        return [scanner.name for scanner in self.hook.list_scanners()]

    def __exit__(self, *_: Any) -> None:
        self.hook.close()


class TestRefusals:
    """Each message about AWS that the design promises, once; moto refuses little of it itself."""

    def failure(self, task: Any) -> str:
        with pytest.raises(AirflowException) as raised:
            task.execute(context())
        assert isinstance(raised.value, AirflowFailException)
        return complete_message(raised.value)

    def test_product_without_subscription(self, aws: AwsServices) -> None:
        task = create(new_name())
        url = "https://aws.amazon.com/marketplace/pp?sku=8fn69npzmbzcs4blc4583jd0y"
        text = f"In order to use this AWS Marketplace product you need to accept terms. To do so please visit {url}"
        refuse(task.hook, "ec2", "RunInstances", "OptInRequired", text, status=401)
        said = self.failure(task)
        assert f"has not subscribed to the image's product in AWS Marketplace. Open {url} as a person" in said
        assert "(account 123456789012, Region eu-west-1, connection 'nessus_aws')" in said

    def test_no_image_of_the_product(self, aws: AwsServices) -> None:
        said = self.failure(create(new_name(), image="product_code:00000000000000000000000aa"))
        assert said.startswith("No image with product code 00000000000000000000000aa in eu-west-1. Give `image` as")

    @pytest.mark.parametrize(
        ("image", "said"),
        [
            ("ami-00000000", "There is no image ami-00000000 in eu-west-1"),
            ("ssm:/no/such/parameter", "Parameter /no/such/parameter in eu-west-1 holds None"),
            ("latest", "give it as ami-..., ssm:/path or product_code:CODE"),
        ],
    )
    def test_images_that_are_none(self, aws: AwsServices, image: str, said: str) -> None:
        text = self.failure(create(new_name(), image=image))
        assert said in text or "InvalidAMIID.NotFound" in text

    def test_image_of_a_parameter(self, aws: AwsServices) -> None:
        with aws.client("ssm") as ssm:
            ssm.put_parameter(Name="/images/nessus", Type="String", Value=IMAGE)
        assert made(new_name(), image="ssm:/images/nessus")["image_id"] == IMAGE

    def test_missing_permission_is_decoded_where_that_is_allowed(self, aws: AwsServices) -> None:
        task = create(new_name())
        text = "You are not authorized to perform this operation. Encoded authorization failure message: aBc_1-2="
        refuse(task.hook, "ec2", "RunInstances", "UnauthorizedOperation", text, status=403)
        respond(task.hook, "sts", "DecodeAuthorizationMessage", {"DecodedMessage": '{"action": "ec2:RunInstances"}'})
        said = self.failure(task)
        assert "UnauthorizedOperation: You are not authorized" in said
        assert "aBc_1-2=" not in said
        assert 'Decoded: {"action": "ec2:RunInstances"}' in said
        assert "Allow this action to the connection's identity." in said
        # moto cannot decode: then without.
        other = create(new_name())
        refuse(other.hook, "ec2", "RunInstances", "UnauthorizedOperation", text, status=403)
        assert "Decoded" not in self.failure(other)

    def test_profile_that_iam_has_just_made_is_waited_for(self, aws: AwsServices, monkeypatch: Any) -> None:
        monkeypatch.setattr(instances.time, "sleep", lambda _: None)
        name = new_name()
        task = create(name, prerequisites=prerequisites(name).execute(context()))
        text = "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        refuse(task.hook, "ec2", "RunInstances", "InvalidParameterValue", text, times=3)
        assert task.execute(context())["created"]
        other = create(new_name())
        refuse(other.hook, "ec2", "RunInstances", "InvalidParameterValue", text, times=99)
        with pytest.raises(TemporaryError, match="Instance profile p was not usable for 60 s after it was made"):
            other.execute(context())

    def test_instance_of_an_earlier_try_that_was_terminated(self, aws: AwsServices) -> None:
        name = new_name()
        task = create(name)
        refuse(task.hook, "ec2", "RunInstances", "IdempotentInstanceTerminated", "terminated")
        assert task.execute(context(try_number=2))["created"]
        assert len(aws.instances(name)) == 1

    @pytest.mark.parametrize(
        ("code", "advice"),
        [
            ("IdempotentParameterMismatch", "An earlier try of this task has asked for an instance with other"),
            ("VcpuLimitExceeded", "Raise the quota in Service Quotas"),
            ("InvalidSubnetID.NotFound", "it must be in the same Region and VPC"),
            ("Unsupported", "Choose another one"),
        ],
    )
    def test_what_a_person_must_do(self, aws: AwsServices, code: str, advice: str) -> None:
        task = create(new_name())
        refuse(task.hook, "ec2", "RunInstances", code, "words of AWS")
        said = self.failure(task)
        assert f"{code}: words of AWS." in said
        assert advice in said

    @pytest.mark.parametrize("code", ["RequestLimitExceeded", "InsufficientInstanceCapacity", "InternalError"])
    def test_what_may_go_away_is_retried(self, aws: AwsServices, code: str) -> None:
        task = create(new_name())
        refuse(task.hook, "ec2", "RunInstances", code, "later", status=503)
        with pytest.raises(TemporaryError, match=f"{code}: later"):
            task.execute(context())

    def test_a_connection_that_is_missing(self, aws: AwsServices) -> None:
        for task in (create(new_name(), aws_conn_id="nobody"), prerequisites(new_name(), aws_conn_id="nobody")):
            assert "There is no AWS connection 'nobody'" in self.failure(task)

    def test_a_service_that_cannot_be_reached(self, aws: AwsServices, monkeypatch: pytest.MonkeyPatch) -> None:
        fields = aws.connection()
        fields["extra"]["endpoint_url"] = "http://127.0.0.1:9"
        connect(monkeypatch, "nessus_aws", fields)
        with pytest.raises(TemporaryError, match=r"Cannot identify the caller .*EndpointConnectionError"):
            create(new_name()).execute(context())

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"prerequisites": None}, "has no instance profile"),
            ({"link_host": "x; reboot"}, "is not the name of a host"),
            ({"link_host": "x:99999"}, "is not a port"),
            ({"link_host": None}, "which says nothing about where scanners link to"),
            ({"linking_key": LINKING_KEY}, "must be given as parameter:"),
            ({"user_data": f"link {LINKING_KEY}"}, "64 hex digits"),
            ({"metadata_tokens": "none"}, "must be 'required' or 'optional'"),
            ({"volume_gb": 1}, "from 8 to 16384"),
            ({"run_instance_kwargs": {"MaxCount": 2}}, "cannot contain MaxCount"),
            ({"aws_scanner": "perhaps"}, "it must be true or false"),
            ({"proxy": {"host": "x"}}, "proxy must be an object"),
            ({"proxy": {"host": "x", "port": 1, "password": "plain"}}, "a secret itself must not"),
        ],
    )
    def test_arguments_that_cannot_be(self, aws: AwsServices, arguments: dict[str, Any], said: str) -> None:
        name = new_name()
        text = self.failure(create(name, **arguments))
        assert said in text
        assert LINKING_KEY not in text
        assert aws.instances(name, alive=False) == []

    @pytest.mark.parametrize("name", ["a'; reboot #", "$(x)", "", "a\nb", "{{ x }}"])
    def test_names_that_could_do_something_in_a_shell(self, aws: AwsServices, name: str) -> None:
        for task in (prerequisites(name), create(name), terminate(name=name or "$")):
            assert "cannot be the name of a scanner here" in self.failure(task)


class TestPrerequisites:
    def test_differences_are_reported_and_changed_on_request(self, aws: AwsServices) -> None:
        name = new_name()
        first = prerequisites(name, ingress=[{"port": 22, "cidr": "10.0.0.0/8"}]).execute(context())
        assert first["differences"] == []
        asked = {
            "ingress": [{"port": 8834, "cidr": "10.1.0.0/16"}],
            "role_policies": ["AmazonEC2ReadOnlyAccess", "AmazonSSMManagedInstanceCore"],
            "linking_key": "parameter:/other",
        }
        role, group = first["role"], first["role"]
        seen = prerequisites(name, **asked).execute(context())
        assert seen["created"] == []
        assert seen["differences"] == [
            f"role {role} lacks policy arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",
            f"policy read-linking-key of role {role} names other secrets",
            f"security group {group} lacks ingress to 8834 from 10.1.0.0/16",
            f"security group {group} also allows ingress to 22 from 10.0.0.0/8",
        ]
        assert prerequisites(name, update=True, **asked).execute(context())["differences"] == seen["differences"][3:]
        again = prerequisites(name, **{**asked, "ingress": []}).execute(context())["differences"]
        assert again == [f"security group {group} also allows ingress to 22 from 10.0.0.0/8, 8834 from 10.1.0.0/16"]

    def test_what_belongs_to_others_is_not_used(self, aws: AwsServices) -> None:
        name = new_name()
        role = f"nessus-{name.replace(' ', '-')}"
        with aws.client("iam") as iam:
            iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
        with pytest.raises(AirflowFailException, match=f"There is a role {role} already, and it does not carry tag"):
            prerequisites(name).execute(context())
        # And it is not removed.
        assert terminate(name=name).execute(context())["left"] == [f"role {role}"]

    def test_a_port_is_not_opened_to_everybody(self, aws: AwsServices) -> None:
        name = new_name()
        world = [{"port": 8834, "cidr": "0.0.0.0/0"}]
        with pytest.raises(AirflowFailException, match="would open port 8834 to everybody"):
            prerequisites(name, ingress=world).execute(context())
        assert prerequisites(name, ingress=world, allow_world=True).execute(context())["differences"] == []

    @pytest.mark.parametrize(
        "rule", [{"port": 0, "cidr": "10.0.0.0/8"}, {"port": 22}, "22", {"port": 22, "cidr": "10.0.0.1/8"}]
    )
    def test_rules_that_are_none(self, aws: AwsServices, rule: Any) -> None:
        with pytest.raises(AirflowFailException, match="is not an ingress rule"):
            prerequisites(new_name(), ingress=[rule]).execute(context())

    def test_the_private_part_of_a_new_key_pair_goes_to_its_secret_only(self, aws: AwsServices, logged: Logged) -> None:
        name = new_name()
        asked = {"key_pair": f"pair {name}", "key_pair_secret": f"secret:pair/{name.replace(' ', '-')}"}
        result = prerequisites(name, **asked).execute(context())
        assert result["key_name"] == f"pair {name}"
        with aws.client("secretsmanager") as secrets:
            private = secrets.get_secret_value(SecretId=f"pair/{name.replace(' ', '-')}")["SecretString"]
        assert "PRIVATE KEY" in private
        kept = json.dumps(result) + logged()
        assert "CreateKeyPair" in kept, "the control: botocore logs its requests"
        assert [line for line in private.splitlines()[1:-1] if line in kept] == []
        assert f"key pair pair {name}" not in prerequisites(name, **asked).execute(context())["created"]
        assert terminate(name=name).execute(context())["left"] == []

    def test_a_key_pair_whose_private_part_cannot_be_stored_does_not_stay(self, aws: AwsServices) -> None:
        name = new_name()
        task = prerequisites(name, key_pair=f"pair {name}", key_pair_secret="secret:x")
        refuse(task.hook, "secretsmanager", "GetSecretValue", "AccessDeniedException", "no", status=400)
        with pytest.raises(AirflowFailException, match="AccessDeniedException: no"):
            task.execute(context())
        with aws.client("ec2") as ec2:
            assert f"pair {name}" not in [pair["KeyName"] for pair in ec2.describe_key_pairs()["KeyPairs"]]

    def test_a_key_pair_needs_a_place_for_its_private_part(self, aws: AwsServices) -> None:
        with pytest.raises(AirflowFailException, match="say where its private part goes"):
            prerequisites(new_name(), key_pair="pair").execute(context())


class TestSensor:
    def scanner(self, aws: AwsServices) -> dict[str, Any]:
        return {**create(new_name()).execute(context()), "launched_at": None}

    def timed_out(self, scanner: dict[str, Any], **arguments: Any) -> str:
        with pytest.raises(AirflowSensorTimeout) as raised:
            sensor(scanner=scanner, **arguments).execute(context())
        return str(raised.value)

    def test_not_linked(self, aws: AwsServices, logged: Logged) -> None:
        scanner = self.scanner(aws)
        said = self.timed_out(scanner)
        assert said.startswith(f"No scanner {scanner['name']} appeared in Tenable within 0 min.")
        assert f"Its instance {scanner['instance_id']} is running, and its console says: " in said
        assert "an old linking key" in said
        assert f"Console of {scanner['instance_id']}: " in logged()

    def test_linked_and_off(self, aws: AwsServices, sandbox: Sandbox) -> None:
        scanner = self.scanner(aws)
        sandbox.tenable("scanners", {"name": scanner["name"], "online_after": None})
        assert f"Scanner {scanner['name']} is linked, but has never been on." in self.timed_out(scanner)

    def test_without_plugins(self, aws: AwsServices, sandbox: Sandbox) -> None:
        scanner = self.scanner(aws)
        sandbox.tenable("scanners", {"name": scanner["name"], "plugins_after": None})
        assert f"Scanner {scanner['name']} is on, but has no plugins after 0 min." in self.timed_out(scanner)
        assert sensor(scanner=scanner, require_plugins=False).execute(context())["plugin_set"] is None

    def test_old_plugins(self, aws: AwsServices, sandbox: Sandbox) -> None:
        scanner = self.scanner(aws)
        sandbox.tenable("scanners", {"name": scanner["name"]})
        assert "are older than 0.001 h" in self.timed_out(scanner, max_plugin_age_hours=0.001)

    def test_a_time_out_can_skip(self, aws: AwsServices) -> None:
        with pytest.raises(AirflowSkipException, match="No scanner nobody appeared in Tenable"):
            sensor(name="nobody", soft_fail=True).execute(context())

    def test_a_machine_of_before_does_not_count(self, aws: AwsServices, sandbox: Sandbox) -> None:
        scanner = self.scanner(aws)
        sandbox.tenable("scanners", {"name": scanner["name"], "created": 1_500_000_000})
        assert "No scanner" in self.timed_out(scanner, since=1_600_000_000)

    def test_deferred(self, aws: AwsServices, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        scanner = self.scanner(aws)
        task = sensor(scanner=scanner, deferrable=True, timeout=600)
        left = deferred(task, context())
        assert (left.trigger.step, left.trigger.poll_interval) == ("absent", 10)
        sandbox.tenable("scanners", {"name": scanner["name"], "plugins_after": None})
        assert fire(left.trigger, monkeypatch) == {"step": "without plugins"}
        # Another look, another trigger, the same deadline.
        with pytest.raises(TaskDeferred) as raised:
            sensor(scanner=scanner, deferrable=True, timeout=600).execute_complete(context(), None, **left.kwargs)
        again = raised.value
        assert (again.trigger.step, again.trigger.deadline) == ("without plugins", left.trigger.deadline)
        with pytest.raises(AirflowSensorTimeout, match="has no plugins after 10 min"):
            sensor(scanner=scanner, deferrable=True, timeout=600).execute_complete(context(), {}, deadline=1.0)
        assert sensor(scanner=scanner, deferrable=True, require_plugins=False).execute(context())["name"]

    def test_a_role_that_is_too_low_fails_at_once(
        self, aws: AwsServices, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fields = json.loads(_connection("tenable_default"))
        connect(monkeypatch, "tenable_default", {**fields, "login": NO_MANAGE + fields["login"]})
        with pytest.raises(AirflowFailException, match="It needs the role Scan Manager or higher"):
            sensor(name="x").execute(context())

    def test_a_tenable_that_is_out_of_order_is_asked_again(self, aws: AwsServices, sandbox: Sandbox) -> None:
        scanner = self.scanner(aws)
        sandbox.tenable("scanners", {"name": scanner["name"]})
        sandbox.tenable("faults", {"on": "scanners", "do": "status", "status": 500})
        assert sensor(scanner=scanner, timeout=60).execute(context())["name"] == scanner["name"]

    def test_nothing_to_wait_for(self, aws: AwsServices) -> None:
        with pytest.raises(AirflowFailException, match="does not know which scanner to wait for"):
            sensor(scanner=None).execute(context())


def _connection(name: str) -> str:
    import os

    return os.environ[f"AIRFLOW_CONN_{name.upper()}"]


class TestTerminate:
    def test_running_scans_are_waited_for(self, aws: AwsServices, sandbox: Sandbox, naps: list[float]) -> None:
        name = new_name()
        scanner = made(name)
        number = sandbox.tenable("scanners", {"name": name, "scans": ["Nightly", "Weekly"]})["id"]
        with pytest.raises(ConflictError, match=r"still runs 2 scans \(Nightly, Weekly\), so nothing was removed"):
            terminate(scanner=scanner, wait_for_scans=0).execute(context())
        assert len(aws.instances(name)) == 1
        left = deferred(terminate(scanner=scanner, deferrable=True), context())
        sandbox.tenable(f"scanners/{number}", {"scans": []})
        result = terminate(scanner=scanner, deferrable=True).execute_complete(context(), None, **left.kwargs)
        assert (result["deleted"], result["terminated"]) == (True, True)

    def test_force_does_not_ask(self, aws: AwsServices, sandbox: Sandbox) -> None:
        name = new_name()
        sandbox.tenable("scanners", {"name": name, "scans": ["Nightly"]})
        assert terminate(scanner=made(name), force=True).execute(context())["deleted"]

    def test_an_instance_of_somebody_else_is_not_terminated(self, aws: AwsServices) -> None:
        with aws.client("ec2") as ec2:
            other = ec2.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
        with pytest.raises(AirflowFailException, match=f"Instance {other} does not carry tag tenable:scanner=mine"):
            terminate(name="mine", instance_id=other).execute(context())

    def test_a_group_that_is_in_use_is_left_and_named(self, aws: AwsServices) -> None:
        name = new_name()
        scanner = made(name)
        task = terminate(scanner=scanner)
        refuse(task.hook, "ec2", "DeleteSecurityGroup", "DependencyViolation", "in use")
        refuse(task.hook, "iam", "DeleteRole", "DeleteConflict", "in use", status=409)
        left = task.execute(context())["left"]
        assert [re.sub(r"sg-\w+", "sg", what) for what in left] == [
            "security group sg (in use)",
            f"role nessus-{name.replace(' ', '-')} (in use)",
        ]
        assert terminate(name=name).execute(context())["left"] == []

    def test_a_protected_instance(self, aws: AwsServices) -> None:
        name = new_name()
        scanner = made(name)
        with aws.client("ec2") as ec2:
            ec2.modify_instance_attribute(InstanceId=scanner["instance_id"], DisableApiTermination={"Value": True})
        with fails_at_once(r"protected from termination. Switch the protection off first"):
            terminate(scanner=scanner).execute(context())

    @pytest.mark.parametrize(
        ("arguments", "said"), [({}, "does not know which scanner"), ({"cleanup": ["vpc"]}, "vpc")]
    )
    def test_arguments_that_cannot_be(self, aws: AwsServices, arguments: dict[str, Any], said: str) -> None:
        with pytest.raises(AirflowFailException, match=said):
            terminate(**({"name": "x"} if arguments else {}), **arguments).execute(context())


class TestLinkingKey:
    @pytest.mark.parametrize("place", ["parameter:/tenable/keys/{name}", "secret:tenable/keys/{name}"])
    def test_it_is_written_once_and_again_when_it_has_changed(
        self, aws: AwsServices, sandbox: Sandbox, place: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = new_name()

        def store() -> dict[str, Any]:
            task = TenableStoreLinkingKeyOperator(task_id="store", name=name, linking_key=place, **AWS)
            return dict(task.execute(context()))

        first, second = store(), store()
        assert first["parameter"] == place.replace("{name}", name.replace(" ", "-"))
        assert [first["changed"], second["changed"]] == [True, False]
        assert first["version"] == second["version"]
        monkeypatch.setattr("airflow_provider_tenable.tenable_vm.scanners.ScannersApi.linking_key", lambda _: "b7" * 32)
        third = store()
        assert third["changed"]
        assert third["version"] != first["version"]

    def test_a_parameter_that_everybody_could_read_is_refused(self, aws: AwsServices) -> None:
        with aws.client("ssm") as ssm:
            ssm.put_parameter(Name="/plain/key", Type="String", Value="x")
        task = TenableStoreLinkingKeyOperator(task_id="s", name="n", linking_key="parameter:/plain/key", **AWS)
        with pytest.raises(AirflowFailException, match="is a String, not a SecureString"):
            task.execute(context())


class TestLinkByCommand:
    def link(self, ids: list[str], **arguments: Any) -> NessusLinkScannerOperator:
        usual = {"task_id": "link", "instance_ids": ids, "name": "there", "link_host": "cloud.tenable.com"}
        return NessusLinkScannerOperator(**{**usual, **AWS, **arguments})

    @pytest.fixture
    def ends(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """moto runs no command: what came of it is said here."""
        said: dict[str, Any] = {"Status": "Success", "StandardOutputContent": "tenable-bootstrap: linked\n", "sent": []}
        real = NessusEc2Hook.call

        def call(self: Any, service: str, operation: str, **arguments: Any) -> Any:
            if operation == "send_command":
                said["sent"].append(arguments)
            if operation != "get_command_invocation":
                return real(self, service, operation, **arguments)
            answer = said.get(arguments["InstanceId"], said)
            return answer.pop(0) if isinstance(answer, list) else answer

        monkeypatch.setattr(NessusEc2Hook, "call", call)
        return said

    def test_machines_are_linked_by_the_same_script(self, aws: AwsServices, ends: dict[str, Any]) -> None:
        ids = [made(new_name())["instance_id"] for _ in range(2)]
        ends[ids[0]] = [None, {"Status": "InProgress"}, {**ends}]
        assert self.link(ids).execute(context()) == {"instances": dict.fromkeys(ids, "linked")}
        assert [each["InstanceIds"] for each in ends["sent"]] == [[each] for each in ids]
        assert {each["DocumentName"] for each in ends["sent"]} == {"AWS-RunShellScript"}
        for each in ends["sent"]:
            script = "\n".join(each["Parameters"]["commands"])
            assert f"SCANNER_NAME=there-{each['InstanceIds'][0]}" in script
            assert "SECRET_NAME=/tenable/linking-key/there" in script
            assert LINKING_KEY not in script

    def test_unlinking(self, aws: AwsServices, ends: dict[str, Any]) -> None:
        ends["StandardOutputContent"] = "tenable-bootstrap: started\ntenable-bootstrap: unlinked\n"
        one = made(new_name())["instance_id"]
        assert self.link([one], unlink=True, name="").execute(context()) == {"instances": {one: "unlinked"}}

    def test_a_machine_that_cannot_link_says_why(self, aws: AwsServices, ends: dict[str, Any]) -> None:
        one = made(new_name())["instance_id"]
        ends.update(
            Status="Failed",
            StandardOutputContent="tenable-bootstrap: error: no route\ntenable-bootstrap: failed link: after 5\n",
        )
        with pytest.raises(
            TemporaryError, match=f"1 of 1 machines could not be linked: {one}: error: no route; failed"
        ):
            self.link([one]).execute(context())

    def test_a_machine_without_an_agent(self, aws: AwsServices, ends: dict[str, Any]) -> None:
        one = made(new_name())["instance_id"]
        ends.update(Status="Pending")
        with pytest.raises(TemporaryError, match=r"is Pending after 0 s. Does its SSM agent run"):
            self.link([one], command_timeout=0).execute(context())

    @pytest.mark.parametrize("ids", [[], ["i-1; reboot"], None, "x"])
    def test_machines_that_are_none(self, aws: AwsServices, ids: Any) -> None:
        with pytest.raises(AirflowFailException):
            self.link(ids).execute(context())
        assert nessus_link.PAUSE_SECONDS > 0
