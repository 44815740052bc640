"""Airflow connections to the servers of the benchmarks, as the environment variables of Airflow take them."""

from __future__ import annotations

import json
from hashlib import sha256

#: As long as real ones: every body of an export is searched for them, which costs a finding some 2 us.
ACCESS_KEY, SECRET_KEY = (sha256(name).hexdigest() for name in (b"access", b"secret"))


def tenable_connection(port: int | str) -> str:
    """A connection to the cheap Tenable."""
    host = f"http://127.0.0.1:{port}"
    return json.dumps({"conn_type": "tenable", "host": host, "login": ACCESS_KEY, "password": SECRET_KEY})


def aws_connection(port: int | str, region: str, key: str = "AKIABENCHMARK") -> str:
    """A connection to the cheap hub."""
    extra = {"region_name": region, "endpoint_url": f"http://127.0.0.1:{port}"}
    return json.dumps({"conn_type": "aws", "login": key, "password": "secret", "extra": extra})


__all__ = ["ACCESS_KEY", "SECRET_KEY", "aws_connection", "tenable_connection"]
