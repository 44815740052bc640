"""The command line: `python -m sandbox [serve | hub | finding | advance]`."""

import argparse
import sys
from pathlib import Path

from sandbox import commands

_TENABLE, _AWS = "http://127.0.0.1:8741", "http://127.0.0.1:8742"


def main(arguments: list[str] | None = None) -> None:
    """Run one command. Without a command, or with options only, the servers are started."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        given = ["serve", *given]
    options = _parser().parse_args(given)
    try:
        match options.command:
            case "hub":
                print(commands.hub(options.aws.rstrip("/")))
            case "finding":
                print(commands.finding(options.aws.rstrip("/"), options.id))
            case "advance":
                print(commands.advance(options.tenable.rstrip("/"), options.duration))
            case _:
                _serve(options)
    except ValueError as error:
        raise SystemExit(str(error)) from error


def _serve(options: argparse.Namespace) -> None:
    # Imported here, so that the other commands start without a web server.
    from sandbox.serve import Settings, serve

    serve(Settings(**{name: value for name, value in vars(options).items() if name != "command" and value is not None}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="Tenable and AWS Security Hub on localhost.")
    parsers = parser.add_subparsers(dest="command", required=True)
    serve = parsers.add_parser("serve", help="start both servers (the default)")
    serve.add_argument("--tenable-port", type=int, help="8741; 0 for a free port")
    serve.add_argument("--aws-port", type=int, help="8742; 0 for a free port")
    serve.add_argument("--seed", type=int, help="what the estate is generated from (7)")
    serve.add_argument("--estate", choices=("tiny", "small", "demo"), help="size of the estate (demo)")
    serve.add_argument("--hosts", type=int, help="number of hosts, instead of the estate's own")
    serve.add_argument("--vulnerabilities", type=int, help="number of vulnerabilities, instead of the estate's own")
    serve.add_argument("--days-behind", type=float, help="how far in the past the sandbox's clock begins (3)")
    serve.add_argument("--hub-days-behind", type=float, help="how far in the past Security Hub's clock begins (0)")
    serve.add_argument("--prepare-seconds", type=float, help="how long Tenable prepares an export (2)")
    serve.add_argument("--access-key", help="Tenable's access key")
    serve.add_argument("--secret-key", help="Tenable's secret key")
    serve.add_argument(
        "--hub-state", choices=("subscribed", "enabled", "off"), help="state of Security Hub (subscribed)"
    )
    serve.add_argument("--ready-file", type=Path, help="written when both servers answer")
    serve.add_argument("--verbose", action="store_true", help="log every call")
    hub = parsers.add_parser("hub", help="what the hub holds")
    finding = parsers.add_parser("finding", help="one finding in full")
    finding.add_argument("id")
    for command in (hub, finding):
        command.add_argument("--aws", default=_AWS, help=f"URL of the AWS server ({_AWS})")
    advance = parsers.add_parser("advance", help="move Tenable's clock forward")
    advance.add_argument("duration", help="for example 12h or 1d")
    advance.add_argument("--tenable", default=_TENABLE, help=f"URL of the Tenable server ({_TENABLE})")
    return parser


if __name__ == "__main__":
    main()
