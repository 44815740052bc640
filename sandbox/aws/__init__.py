"""A strict stand-in for AWS Security Hub (CSPM, findings in ASFF) and AWS STS on localhost.

`sandbox.aws.app.build_aws_app` makes the server. It shares no code with the package that it tests: its rules come from
the service's public API model and documentation.
"""
