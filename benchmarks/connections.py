"""Airflow connections to the servers of the benchmarks, as the environment variables of Airflow take them."""

from __future__ import annotations

import json


def tenable_connection(port: int | str) -> str:
    """A connection to the cheap Tenable."""
    host = f"http://127.0.0.1:{port}"
    return json.dumps({"conn_type": "tenable", "host": host, "login": "access", "password": "secret"})


def aws_connection(port: int | str, region: str, key: str = "AKIABENCHMARK") -> str:
    """A connection to the cheap hub."""
    extra = {"region_name": region, "endpoint_url": f"http://127.0.0.1:{port}"}
    return json.dumps({"conn_type": "aws", "login": key, "password": "secret", "extra": extra})


__all__ = ["aws_connection", "tenable_connection"]
