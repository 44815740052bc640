"""Which Regions have an endpoint of an AWS service, as far as botocore knows."""

from __future__ import annotations

from typing import Any

import botocore.session
from botocore.config import Config

from airflow_provider_tenable.aws import partition_of

#: Kinds of endpoints that not every Region has -> botocore's option for them.
_VARIANTS = {"fips": "use_fips_endpoint", "dualstack": "use_dualstack_endpoint"}


def is_known_endpoint(service: str, region: str, config: Config) -> bool:
    """Whether botocore knows an endpoint of a service in a Region, of the kind that is configured (FIPS, dual stack).

    A newly opened Region may be missing, so this can only explain why an endpoint cannot be reached.

    :param service: botocore's name of the service.
    :param config: the client's configuration; the environment and AWS's configuration file are read too.
    """
    session: Any = botocore.session.get_session()
    kind = {tag for tag, option in _VARIANTS.items() if _uses(session, config, option)}
    # Not get_available_regions(), which does not know kinds.
    for partition in session.get_data("endpoints")["partitions"]:
        if partition["partition"] == partition_of(region):
            endpoint = partition["services"].get(service, {}).get("endpoints", {}).get(region)
            return endpoint is not None and (
                not kind or any(kind == set(variant["tags"]) for variant in endpoint.get("variants", ()))
            )
    return False


def _uses(session: Any, config: Config, option: str) -> bool:
    own = getattr(config, option, None)
    return bool(session.get_config_variable(option) if own is None else own)
