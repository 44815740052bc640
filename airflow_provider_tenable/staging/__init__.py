"""Files and folders of a run; nothing of the field."""

from airflow_provider_tenable.staging.files import names
from airflow_provider_tenable.staging.location import open_path

__all__ = ["names", "open_path"]
