"""The pure mapping of Tenable records to AWS Security Finding Format. Imports neither Airflow nor boto3."""
