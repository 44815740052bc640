"""A real Airflow on this machine (`airflow standalone`), connected to the sandbox: for the demo, for clicking, and for the system tests."""
