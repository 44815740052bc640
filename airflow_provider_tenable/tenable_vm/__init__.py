"""What Tenable Vulnerability Management says: the client, export jobs, record kinds, and the records themselves. No
Airflow in here.
"""
