"""A strict stand-in for AWS Security Hub (CSPM, findings in ASFF), AWS STS and a little of EC2 on localhost.

`sandbox.aws.app.build_aws_app` makes the server; boto3 clients reach all of them by `endpoint_url`. It shares no
code with the package that it tests: its rules come from the service's public API model and documentation. Where these
leave a choice, it refuses the request.

In addition to the control endpoints of every server (`/_sandbox/health`, `faults`, `stats`, `reset`) there are

    GET  /_sandbox/findings?account=&region=&id=   {"findings": [...]}, complete documents
    GET  /_sandbox/summary      counts by account, region, severity and record state, and of all imports
    POST /_sandbox/options      see `sandbox.aws.options`; also GET
    POST /_sandbox/hub          {"account", "region", "state": "subscribed" | "enabled" | "off" | "emptied"}; also GET.
                                Emptied: it was off for so long that its findings are gone, and is subscribed again.
    POST /_sandbox/identities   {"access_key_id", "secret_access_key", "account", "arn", "may_assume", "deny"}; also GET
    POST /_sandbox/roles        {"arn", "external_id", "max_session_seconds", "deny", "may_assume"}
    POST /_sandbox/instances    EC2 instances, {"account", "region", "instance", ...}: see `sandbox.aws.ec2`
    POST /_sandbox/customer     {"account", "region", "id", "set": {"Workflow": {"Status": "SUPPRESSED"}, ...}}

and, for a browser, `/` and `/ui/finding?id=`. Faults of this side are described in `sandbox.aws.faults`.
"""
