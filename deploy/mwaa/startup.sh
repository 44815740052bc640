#!/bin/sh
# Startup script for Amazon MWAA. It runs on every component before Airflow starts, and must end within five minutes.
# Everything in it is optional: the same options can be set in the environment's Airflow configuration, as tenable.staging_path and so on.

# Where runs keep their files. Every worker must see the same place: a bucket.
# export AIRFLOW__TENABLE__STAGING_PATH="s3://aws_default@my-mwaa-bucket/tenable"

# A company's own certificate authority, for the way to Tenable. Put the bundle into plugins.zip, and name it in the connection's extra "verify":
#   /usr/local/airflow/plugins/company-ca.pem

# pandas, pyarrow and the libraries below them start a thread per core, which a small worker does not have.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

echo "airflow-provider-tenable: component ${MWAA_AIRFLOW_COMPONENT:-unknown}, staging ${AIRFLOW__TENABLE__STAGING_PATH:-from the environment's configuration}"
