"""The params of ``tenable_scanner_ec2``, and its steps between the operators.

DAG files import the params while Airflow parses them, so nothing heavy is imported here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable.aws import REGION
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.identifiers import is_connection_id, shown
from airflow_provider_tenable.run.conf import check_conf
from airflow_provider_tenable.run.params import RunParam

log = logging.getLogger(__name__)

CREATE, TERMINATE = "create", "terminate"
_KINDS = ("parameter", "security_group", "key_pair", "instance_profile")
#: EC2's rule for tags, without braces: a value must not look like a template.
_TAG = re.compile(r"[\w .:/=+@-]{1,128}")
_TYPE = re.compile(r"[a-z0-9-]{2,20}\.[a-z0-9-]{2,20}", re.ASCII)
_BOOLEAN: Mapping[str, Any] = {"type": "boolean"}

#: Params of ``tenable_scanner_ec2``, in the order of its form.
SCANNER: Mapping[str, RunParam] = {
    "action": RunParam(
        default=CREATE,
        schema={"type": "string", "enum": [CREATE, TERMINATE]},
        title="Action",
        help="`create`: create the scanner, and wait until it can scan. `terminate`: unlink and remove it.",
    ),
    "name": RunParam(
        default="tenable-scanner-1",
        schema={"type": "string", "minLength": 1, "maxLength": 64},
        title="Name",
        help="Name of the scanner in Tenable and of its instance: letters, digits, dots, dashes, underscores, spaces.",
    ),
    "region": RunParam(
        default=None,
        schema={"type": ["null", "string"]},
        title="Region",
        help="Region of the instance. Empty: that of the AWS connection.",
    ),
    "aws_conn_id": RunParam(
        default="aws_default",
        schema={"type": ["null", "string"]},
        title="AWS connection",
        help="AWS connection of the account. Empty: the worker's own credentials.",
    ),
    "image": RunParam(
        default="product_code:8fn69npzmbzcs4blc4583jd0y",
        schema={"type": "string"},
        title="Image",
        help="`ami-...`, `ssm:/path`, or `product_code:CODE` for the newest image of a product in AWS Marketplace. "
        "Default: `[tenable] nessus_product_code`.",
    ),
    "instance_type": RunParam(
        default="m5.xlarge", schema={"type": "string"}, title="Instance type", help="EC2's instance type."
    ),
    "subnet_id": RunParam(
        default=None,
        schema={"type": ["null", "string"]},
        title="Subnet",
        help="Subnet of the instance, with a way to the Internet. Empty: the default VPC.",
    ),
    "aws_scanner": RunParam(
        default=False,
        schema=_BOOLEAN,
        title="Keep the pre-authorised features",
        help="Link with `--aws-scanner` (Nessus 10.2 or later).",
    ),
    "update_os": RunParam(
        default=True, schema=_BOOLEAN, title="Update the image's packages", help="Run `yum update` before linking."
    ),
    "ingress": RunParam(
        default=[],
        schema={"type": "array", "items": {"type": "object"}},
        title="Ingress",
        help='Rules such as `{"port": 8834, "cidr": "10.0.0.0/8"}`. A linked scanner needs none.',
    ),
    "tags": RunParam(
        default={}, schema={"type": "object"}, title="Tags", help="Further tags of everything that is created."
    ),
    "cleanup": RunParam(
        default=list(_KINDS),
        schema={"type": "array", "items": {"type": "string", "enum": list(_KINDS)}, "examples": list(_KINDS)},
        title="Also remove",
        help="What `terminate` removes next to the instance.",
    ),
}

#: The params that describe the machine; ``tenable_scan`` has them too, for an ephemeral scanner.
MACHINE = ("region", "aws_conn_id", "instance_type", "subnet_id", "tags")


def plan_scanner(context: Any) -> dict[str, Any]:
    """The run's params after validation: those of a trigger by another DAG or of the command line bypass the form.

    Nothing in the result can look like a template, since operators receive it in templated fields.

    :raises ConfigurationError: a param is unknown, or its value is invalid.
    """
    from airflow_provider_tenable.scan.bootstrap import check_name
    from airflow_provider_tenable.scan.prerequisites import rules
    from airflow_provider_tenable.scan.removal import check_kinds

    check_conf(context, SCANNER)
    params = {name: context["params"].get(name, param.default) for name, param in SCANNER.items()}
    if params["action"] not in (CREATE, TERMINATE):
        raise ConfigurationError(f"action is {shown(params['action'])}; it must be {CREATE} or {TERMINATE}.")
    for name in ("aws_scanner", "update_os"):
        if not isinstance(params[name], bool):
            raise ConfigurationError(f"{name} is {shown(params[name])}; it must be true or false.")
    _matches("image", params["image"], re.compile(r"[\w:/.-]{5,1000}", re.ASCII))
    ingress = rules(params["ingress"], allow_world=False)
    return {
        **params,
        **check_machine(params),
        "name": check_name(params["name"]),
        "ingress": [{"port": port, "cidr": cidr} for port, cidr in ingress],
        "cleanup": list(check_kinds(list(params["cleanup"]))),
    }


def check_machine(params: Mapping[str, Any]) -> dict[str, Any]:
    """The params :data:`MACHINE` after validation; an empty text for one that is not set, since Airflow 3.0 does not
    accept null in an XCom.

    :raises ConfigurationError: a value is invalid.
    """
    _matches("region", params["region"], REGION, optional=True)
    _matches("instance_type", params["instance_type"], _TYPE)
    _matches("subnet_id", params["subnet_id"], re.compile(r"subnet-[0-9a-f]{8,17}", re.ASCII), optional=True)
    if params["aws_conn_id"] not in (None, "") and not is_connection_id(params["aws_conn_id"]):
        raise ConfigurationError(f"aws_conn_id is {shown(params['aws_conn_id'])}, which is not a connection id.")
    checked = {name: "" if params[name] is None else params[name] for name in MACHINE}
    return {**checked, "tags": _tags(params["tags"])}


def report_scanner(scanner: dict[str, Any], online: dict[str, Any]) -> dict[str, Any]:
    """Log what there is now, and where to go on.

    :param scanner: the result of the operator that created it.
    :param online: the result of the sensor.
    """
    log.info(
        "Scanner %s is online: instance %s in %s (%s), plugins of %s. Choose it as the scanner of a scan; run this DAG "
        "with action=terminate to remove it.",
        safe(scanner.get("name"), 100),
        safe(scanner.get("instance_id"), 40),
        safe(scanner.get("region"), 40),
        "new" if scanner.get("created") else "it was there already",
        safe(online.get("plugin_set"), 40),
    )
    names = ("id", "uuid", "name", "plugin_set")
    return {**{name: online.get(name) for name in names}, "instance_id": scanner.get("instance_id")}


def _matches(name: str, value: object, pattern: re.Pattern[str], *, optional: bool = False) -> None:
    if optional and value in (None, ""):
        return
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ConfigurationError(f"{name} is {shown(value)}, which cannot be one.")


def _tags(tags: object) -> dict[str, str]:
    if not isinstance(tags, Mapping):
        raise ConfigurationError(f"tags is {shown(tags)}; it must be an object of texts.")
    for key, value in tags.items():
        if not all(isinstance(each, str) and _TAG.fullmatch(each) for each in (key, value)):
            raise ConfigurationError(f"{shown({key: value})} cannot be a tag here: letters, digits, blanks, .:/=+@_-.")
        if key.lower().startswith(("aws:", "tenable:", "managed-by")):
            raise ConfigurationError(f"The tag {shown(key)} has another meaning. Choose another name.")
    return dict(tags)
