"""Example DAG files. Airflow 3.3 shows them if ``[core] load_examples`` is on, so they have no schedule."""
