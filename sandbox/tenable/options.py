"""What can be switched while the server runs: GET and POST /_sandbox/options."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

_SWITCHES = (
    "omits_gone_assets",
    "hides_deleted_assets",
    "launches_active_scans",
    "db_asset_by_number",
    "audits_need_targets",
    "shares_audit_asset",
    "has_was",
)
_AMOUNTS = (
    "max_running",
    "prepare_seconds",
    "rate_limit_per_minute",
    "scan_seconds",
    "scan_export_seconds",
    "active_elsewhere",
)
DuplicateMode = Literal["409", "429", "429-template", "cancel-old"]


@dataclass(frozen=True, slots=True)
class Options:
    """How the simulated Tenable behaves.

    :ivar duplicate_mode: what answers a second export with the filters of a running one: today's 409, either of the two
        forms of 429 seen in 2023, or (assets only, as one note in the API docs says) the old job is cancelled
    :ivar max_running: exports in progress at once, of all kinds
    :ivar prepare_seconds: real seconds from a job's creation to its end
    :ivar rate_limit_per_minute: calls that one key pair may make in a minute
    :ivar retry_after: the Retry-After header of a 429; null leaves it out, text is sent as it is (say an HTTP date)
    :ivar download_bytes_per_second: slows chunks down; null does not
    :ivar omits_gone_assets: whether an asset export that asks for nothing of the kind leaves out deleted and terminated
        assets; the API docs do not say
    :ivar hides_deleted_assets: whether no export shows deleted assets, whatever it asks for, as to users who are not
        administrators since early 2026 (tenable/integration-jira-cloud#330)
    :ivar missing_share: the share of the assets that exports leave out, with their vulnerabilities, although they end
        as FINISHED (tenable/pyTenable#710); always the same assets for the same share
    :ivar asset_age_out_days: after how many days without a scan hosts are removed without a trace, when the clock is
        advanced (a network's option); null for never
    :ivar scan_seconds: how long a run of a scan takes, on the sandbox's clock
    :ivar scan_export_seconds: how long an export of a scan takes, on the sandbox's clock
    :ivar active_elsewhere: active runs of others in the container; it runs 25 at most
    :ivar launches_active_scans: a launch of a scan that runs starts a second run instead of answering 409; the API docs
        do not say
    :ivar db_asset_by_number: a db export names its asset by `host_id` instead of by `uuid`; the API docs do not say
    :ivar audits_need_targets: an AWS audit without targets is refused; the API docs do not say
    :ivar shares_audit_asset: all AWS audits have one asset 127.0.0.1, instead of one for each scan; the API docs do not
        say
    :ivar has_was: whether the container has a licence of Tenable Web App Scanning; without one its API answers 403. The
        API docs do not say which status it is
    """

    duplicate_mode: DuplicateMode = "409"
    max_running: int = 10
    prepare_seconds: float = 2.0
    rate_limit_per_minute: int = 100_000
    retry_after: float | str | None = 5
    download_bytes_per_second: float | None = None
    omits_gone_assets: bool = False
    hides_deleted_assets: bool = False
    missing_share: float = 0.0
    asset_age_out_days: float | None = None
    scan_seconds: float = 2.0
    scan_export_seconds: float = 0.0
    active_elsewhere: int = 0
    launches_active_scans: bool = False
    db_asset_by_number: bool = False
    audits_need_targets: bool = False
    shares_audit_asset: bool = False
    has_was: bool = True

    def changed(self, body: Any) -> "Options":
        """These options with some of them changed; ValueError says what is wrong."""
        names = {field.name for field in fields(self)}
        if not isinstance(body, dict):
            raise ValueError(f"Options are a JSON object, not {body!r}.")
        if unknown := body.keys() - names:
            raise ValueError(f"Unknown: {', '.join(sorted(unknown))}; options are {', '.join(sorted(names))}.")
        for name, value in body.items():
            if name == "duplicate_mode" and value not in get_args(DuplicateMode):
                raise ValueError(f"duplicate_mode is one of {', '.join(get_args(DuplicateMode))}, not {value!r}.")
            if name in _SWITCHES and not isinstance(value, bool):
                raise ValueError(f"{name} must be true or false, not {value!r}.")
            if name == "missing_share" and not (_is_amount(value) and value <= 1):
                raise ValueError(f"missing_share must be a number from 0 to 1, not {value!r}.")
            if name == "asset_age_out_days" and not (value is None or _is_amount(value)):
                raise ValueError(f"asset_age_out_days must be a number or null, not {value!r}.")
            if name in _AMOUNTS and not _is_amount(value):
                raise ValueError(f"{name} must be a number of at least 0, not {value!r}.")
            if name in ("retry_after", "download_bytes_per_second") and not (
                value is None or isinstance(value, str) or _is_amount(value)
            ):
                raise ValueError(f"{name} must be a number or null, not {value!r}.")
        return replace(self, **body)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
