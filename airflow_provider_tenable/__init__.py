"""Tenable Vulnerability Management for Apache Airflow: exports, ASFF, AWS Security Hub."""

__version__ = "0.1.0"
