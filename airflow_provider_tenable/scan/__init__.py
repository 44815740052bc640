"""Scanners and scans: what is decided about them, without Airflow."""
