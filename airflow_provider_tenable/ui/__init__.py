"""The page "Tenable" in Airflow's navigation: what the imports of a DAG have done, from files in the staging area."""
