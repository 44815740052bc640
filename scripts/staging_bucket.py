"""Create the bucket that ``[tenable] staging_path`` names, if it is on an object store and does not exist yet."""

from __future__ import annotations

from urllib.parse import urlsplit


def ensure_bucket(staging_path: str) -> str:
    """Create the bucket of ``s3://{conn_id}@{bucket}/{prefix}``; returns a sentence about what was done."""
    parts = urlsplit(staging_path)
    if parts.scheme != "s3":
        return f"Staging is at {staging_path or 'its default place'}: no bucket is needed."
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    hook = S3Hook(aws_conn_id=parts.username or "aws_default")
    # Parsing a URL changes its host part to lower case; names of buckets are lower case anyway.
    bucket = str(parts.hostname)
    if hook.check_for_bucket(bucket):
        return f"Bucket {bucket} is there."
    hook.create_bucket(bucket_name=bucket)
    return f"Made bucket {bucket}."


if __name__ == "__main__":
    from airflow_provider_tenable import config

    print(ensure_bucket(str(config.get("staging_path"))))
