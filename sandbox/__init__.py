"""Stand-ins for Tenable Vulnerability Management and for AWS Security Hub on localhost, strict, with faults to order.

`python -m sandbox` starts both. They are for demonstrations and tests, and are not part of the installed package.
"""
