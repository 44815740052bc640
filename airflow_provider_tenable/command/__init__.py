"""The command ``tenable-to-security-hub``: one import, or one every few hours, without an Airflow to set up.

It keeps a private Airflow in a folder of its own (:mod:`~airflow_provider_tenable.command.home`), and runs the DAG
``tenable_to_security_hub`` in a process per run (:mod:`~airflow_provider_tenable.command.child`) that it watches
(:mod:`~airflow_provider_tenable.command.supervisor`). The command itself does not import Airflow.
"""
