"""Merging the bundle into an environment of Amazon MWAA: nothing that is there is lost, and a second merge replaces the
first.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.config import OPTIONS
from airflow_provider_tenable.run.watermark import variable_name

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
try:
    import mwaa_bundle
    import mwaa_environment
    import mwaa_merge
    import mwaa_packages
finally:
    sys.path.remove(str(ROOT / "scripts"))

OURS = mwaa_bundle.requirements_text("offline", "0.2.0", {"pytenable": "26.10.1", "s3fs": "2026.7.0"})
THEIRS = (
    "# Packages of the finance team\r\n--extra-index-url "
    "https://packages.example.com/simple\npandas-gbq==0.29.1  # reports\n\nslack-sdk"
)
ENVIRONMENT: dict[str, Any] = {
    "Name": "finance",
    "AirflowVersion": "3.0.6",
    "SourceBucketArn": "arn:aws:s3:::finance-airflow",
    "DagS3Path": "airflow/dags/",
    "PluginsS3Path": "airflow/plugins.zip",
    "PluginsS3ObjectVersion": "v-plugins",
    "RequirementsS3Path": "airflow/requirements.txt",
    "RequirementsS3ObjectVersion": "v-requirements",
    "ExecutionRoleArn": "arn:aws:iam::123456789012:role/service-role/AmazonMWAA-finance-a1b2c3",
    "KmsKey": "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555",
    "AirflowConfigurationOptions": {"core.parallelism": "64", "smtp.smtp_password": "it's a secret"},
    "LoggingConfiguration": {
        "TaskLogs": {
            "Enabled": True,
            "LogLevel": "INFO",
            "CloudWatchLogGroupArn": "arn:aws:logs:eu-west-1:123456789012:log-group:airflow-finance-Task",
        }
    },
}


class TestRequirements:
    def test_theirs_stay_and_ours_follow_in_a_block(self) -> None:
        merged = mwaa_merge.merge_requirements(THEIRS, OURS)
        assert merged.startswith(THEIRS + "\n")
        block = merged.removeprefix(THEIRS + "\n").splitlines()
        assert (block[0], block[-1]) == (mwaa_merge.BEGIN, mwaa_merge.END)
        assert block[1:-1] == [
            "--find-links /usr/local/airflow/plugins",
            "airflow-provider-tenable[s3]==0.2.0",
            "pytenable==26.10.1",
            "s3fs==2026.7.0",
        ]

    def test_index_stays_in_use_for_their_packages(self) -> None:
        assert "--no-index" not in mwaa_merge.merge_requirements(THEIRS, OURS)

    def test_environment_without_an_index_stays_without(self) -> None:
        theirs = "--no-index\n--find-links /usr/local/airflow/plugins\nslack-sdk==3.1\n"
        merged = mwaa_merge.merge_requirements(theirs, OURS)
        assert merged.count("--no-index") == 1
        assert merged.count("--find-links") == 1

    def test_second_merge_replaces_the_first(self) -> None:
        first = mwaa_merge.merge_requirements(
            THEIRS, OURS.replace("0.2.0", "0.1.0").replace("s3fs==2026.7.0\n", "gone==1\n")
        )
        again = mwaa_merge.merge_requirements(first, OURS)
        assert again == mwaa_merge.merge_requirements(THEIRS, OURS)
        # What people have added since stays, too.
        later = mwaa_merge.merge_requirements(first + "added-later\n", OURS)
        assert "added-later" in later
        assert "gone==1" not in later

    def test_environment_without_requirements_gets_ours(self) -> None:
        assert mwaa_merge.merge_requirements("", OURS).startswith(mwaa_merge.BEGIN)

    def test_block_leaves_mwaas_constraints_in_force(self) -> None:
        merged = mwaa_merge.merge_requirements("", OURS)
        assert "-c " not in merged
        assert "--constraint " not in merged


def archive(files: dict[str, bytes], *, mode: int = 0o644) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10))
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(entry, data)
    return target.getvalue()


def content(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


class TestPlugins:
    theirs = {
        "operators/": b"",
        "operators/mine.py": b"print()\n",
        "bin/tool": b"#!/bin/sh\n",
        "shared-1.0-py3-none-any.whl": b"same",
    }
    ours = {"airflow_provider_tenable-0.2.0-py3-none-any.whl": b"new", "shared-1.0-py3-none-any.whl": b"same"}

    def test_theirs_stay_with_their_attributes_and_ours_are_added(self) -> None:
        merged = mwaa_merge.merge_plugins(archive(self.theirs, mode=0o755), archive(self.ours))
        assert {
            name: data for name, data in content(merged).items() if name != mwaa_merge.INVENTORY
        } == self.theirs | self.ours
        with zipfile.ZipFile(io.BytesIO(merged)) as opened:
            entry = opened.getinfo("bin/tool")
            assert entry.external_attr >> 16 == 0o755
            assert entry.date_time == (2024, 5, 6, 7, 8, 10)
            assert entry.compress_type == zipfile.ZIP_DEFLATED
            assert opened.testzip() is None

    def test_second_merge_takes_out_what_the_first_has_added_and_no_more(self) -> None:
        old = {"airflow_provider_tenable-0.1.0-py3-none-any.whl": b"old", "shared-1.0-py3-none-any.whl": b"same"}
        again = mwaa_merge.merge_plugins(
            mwaa_merge.merge_plugins(archive(self.theirs), archive(old)), archive(self.ours)
        )
        names = set(content(again)) - {mwaa_merge.INVENTORY}
        assert names == set(self.theirs) | set(self.ours)
        assert json.loads(content(again)[mwaa_merge.INVENTORY])["wheels"] == [
            "airflow_provider_tenable-0.2.0-py3-none-any.whl"
        ]

    def test_same_merge_gives_the_same_bytes(self) -> None:
        once = mwaa_merge.merge_plugins(archive(self.theirs), archive(self.ours))
        assert mwaa_merge.merge_plugins(once, archive(self.ours)) == once

    def test_another_file_of_the_same_name_is_refused(self) -> None:
        with pytest.raises(mwaa_merge.MergeError, match=r"has a different shared-1\.0-py3-none-any\.whl"):
            mwaa_merge.merge_plugins(archive({"shared-1.0-py3-none-any.whl": b"theirs"}), archive(self.ours))

    def test_environment_without_plugins_gets_ours(self) -> None:
        assert set(content(mwaa_merge.merge_plugins(None, archive(self.ours)))) == set(self.ours) | {
            mwaa_merge.INVENTORY
        }

    @pytest.mark.parametrize(
        "damaged", [b"no archive", archive({mwaa_merge.INVENTORY: b"{"}), archive({mwaa_merge.INVENTORY: b"{}"})]
    )
    def test_damaged_archive_is_refused_in_words(self, damaged: bytes) -> None:
        with pytest.raises(mwaa_merge.MergeError, match=r"plugins\.zip cannot be read"):
            mwaa_merge.merge_plugins(damaged, archive(self.ours))


class TestStartup:
    ours = (ROOT / "deploy" / "mwaa" / "startup.sh").read_text()

    def run(self, text: str, tmp_path: Path) -> str:
        script = tmp_path / "startup.sh"
        script.write_text(text)
        return subprocess.run(
            ["sh", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
        ).stdout

    @pytest.mark.parametrize(
        "theirs", ["#!/bin/sh\nset -eu\necho theirs\nexit 0\n", "echo theirs", "#!/bin/sh\nexec echo theirs\n"]
    )
    def test_both_run_though_theirs_ends_early(self, theirs: str, tmp_path: Path) -> None:
        said = self.run(mwaa_merge.merge_startup(theirs, self.ours), tmp_path).splitlines()
        assert said[0].startswith("airflow-provider-tenable: component")
        assert said[1:] == ["theirs"]

    def test_second_merge_replaces_the_first(self) -> None:
        theirs = "#!/bin/sh\necho theirs\n"
        once = mwaa_merge.merge_startup(theirs, "#!/bin/sh\necho old\n")
        assert mwaa_merge.merge_startup(once, self.ours) == mwaa_merge.merge_startup(theirs, self.ours)


class TestOptions:
    staging = "s3://aws_default@finance-airflow/tenable"

    def merged(self, theirs: dict[str, str], **how: Any) -> dict[str, str]:
        return mwaa_merge.merge_options(theirs, staging_path=self.staging, **how)

    def test_every_option_stays_and_only_ours_are_added(self) -> None:
        theirs = {"core.parallelism": "64", "tenable.dag_params": '{"severities": ["critical"]}'}
        merged = self.merged(theirs)
        assert {name: merged[name] for name in theirs} == theirs
        assert set(merged) - set(theirs) == {"tenable.staging_path", "secrets.backend", "secrets.backend_kwargs"}
        assert merged["tenable.staging_path"] == self.staging

    def test_first_scheduled_runs_send_nothing(self) -> None:
        merged = self.merged({})
        assert "tenable.first_scheduled_run" not in merged
        assert OPTIONS["first_scheduled_run"].default == "dry"
        assert json.loads(merged["tenable.dag_params"]) == {"region_routing": "resource"}

    def test_new_backend_is_asked_for_our_connection_alone(self) -> None:
        kwargs = json.loads(self.merged({})["secrets.backend_kwargs"])
        for name, asked in (("tenable_default", True), ("aws_default", False), ("their_warehouse", False)):
            assert bool(re.match(kwargs["connections_lookup_pattern"], name)) is asked
        assert kwargs["variables_prefix"] is None

    def test_backend_of_theirs_keeps_its_options_and_is_not_asked_for_the_watermark(self) -> None:
        kwargs = {"connections_prefix": "finance/connections", "profile_name": None}
        theirs = {"secrets.backend": mwaa_merge.PARAMETER_STORE, "secrets.backend_kwargs": json.dumps(kwargs)}
        merged = self.merged(theirs)
        assert merged["secrets.backend"] == mwaa_merge.PARAMETER_STORE
        found = json.loads(merged["secrets.backend_kwargs"])
        pattern = found.pop("variables_lookup_pattern")
        assert found == kwargs
        assert not re.match(pattern, variable_name("tenable_to_security_hub"))
        assert re.match(pattern, "their_variable")

    @pytest.mark.parametrize("kwargs", [{"variables_prefix": None}, {"variables_lookup_pattern": "^finance_"}])
    def test_backend_that_is_not_asked_for_the_watermark_stays_as_it_is(self, kwargs: dict[str, Any]) -> None:
        theirs = {"secrets.backend": mwaa_merge.SECRETS_MANAGER, "secrets.backend_kwargs": json.dumps(kwargs)}
        assert self.merged(theirs)["secrets.backend_kwargs"] == theirs["secrets.backend_kwargs"]

    def test_backend_of_another_kind_stays_as_it_is(self) -> None:
        theirs = {
            "secrets.backend": "airflow.providers.hashicorp.secrets.vault.VaultBackend",
            "secrets.backend_kwargs": "not json",
        }
        assert {name: self.merged(theirs)[name] for name in theirs} == theirs

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            ('{"variables_lookup_pattern": ".*"}', "matches tenable_to_security_hub__since"),
            ('{"connections_lookup_pattern": "^finance_"}', "excludes tenable_default"),
            ('{"connections_prefix": null}', "excludes tenable_default"),
            ("[]", "not a JSON object"),
            ("{", "not a JSON object"),
        ],
    )
    def test_what_contradicts_is_refused_in_words_and_can_be_kept(self, kwargs: str, message: str) -> None:
        theirs = {"secrets.backend": mwaa_merge.SECRETS_MANAGER, "secrets.backend_kwargs": kwargs}
        with pytest.raises(mwaa_merge.MergeError, match=message):
            self.merged(theirs)
        assert {name: self.merged(theirs, keep_secrets=True)[name] for name in theirs} == theirs

    def test_watermark_is_the_one_of_the_package(self) -> None:
        assert variable_name("tenable_to_security_hub") == mwaa_merge._WATERMARK


def test_update_names_what_changes_and_no_version() -> None:
    update = mwaa_merge.update_of(ENVIRONMENT, startup=False, keep_secrets=False)
    assert set(update) == {"Name", "PluginsS3Path", "RequirementsS3Path", "AirflowConfigurationOptions"}
    assert update["PluginsS3Path"] == "airflow/plugins.zip"
    assert update["AirflowConfigurationOptions"]["smtp.smtp_password"] == "it's a secret"
    bare = {
        name: value for name, value in ENVIRONMENT.items() if "S3" not in name and name != "AirflowConfigurationOptions"
    }
    update = mwaa_merge.update_of(bare, startup=True, keep_secrets=False)
    assert (update["PluginsS3Path"], update["RequirementsS3Path"], update["StartupScriptS3Path"]) == (
        "plugins.zip",
        "requirements.txt",
        "startup.sh",
    )


class TestNames:
    def test_names_are_the_environments(self) -> None:
        names = mwaa_environment.names_of(ENVIRONMENT)
        assert names["EXECUTION_ROLE_ARN"].endswith(":role/service-role/AmazonMWAA-finance-a1b2c3")
        assert names["EXECUTION_ROLE"] == "AmazonMWAA-finance-a1b2c3"
        assert names["ACCOUNT_ID"] == "123456789012"
        assert names["PARTITION"] == "aws"
        assert names["BUCKET"] == "finance-airflow"
        assert names["DAGS"] == "airflow/dags"
        assert names["ENVIRONMENT_KEY_ARN"].startswith("arn:aws:kms:")
        assert names["STARTUP"] == names["STARTUP_VERSION"] == ""
        assert (names["TASK_LOG_GROUP"], names["TASK_LOG_LEVEL"]) == ("airflow-finance-Task", "INFO")

    @pytest.mark.parametrize(
        "logs",
        [
            None,
            {},
            {"TaskLogs": {"Enabled": False, "LogLevel": "INFO", "CloudWatchLogGroupArn": "arn:a:b:c:d:log-group:e"}},
        ],
    )
    def test_task_logs_that_are_off_have_no_group(self, logs: dict[str, Any] | None) -> None:
        names = mwaa_environment.names_of({**ENVIRONMENT, "LoggingConfiguration": logs})
        assert (names["TASK_LOG_GROUP"], names["TASK_LOG_LEVEL"]) == ("", "")

    def test_shell_reads_them(self, tmp_path: Path) -> None:
        environment = {**ENVIRONMENT, "DagS3Path": "with 'quotes' $(and more)"}
        (tmp_path / "environment.json").write_text(json.dumps({"Environment": environment}))
        done = subprocess.run(
            [sys.executable, ROOT / "scripts" / "mwaa_environment.py", tmp_path / "environment.json"],
            capture_output=True,
            text=True,
            check=True,
        )
        shell = subprocess.run(
            ["sh", "-c", f'{done.stdout}\nprintf "%s" "$DAGS"'], capture_output=True, text=True, check=True
        )
        assert shell.stdout == "with 'quotes' $(and more)"

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"Environment": {}}'])
    def test_another_file_is_refused_in_words(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "environment.json").write_text(text)
        with pytest.raises(mwaa_merge.MergeError, match="is not the answer of `aws mwaa get-environment"):
            mwaa_merge.read_environment(tmp_path)


class TestInto:
    """The command, with the parts that need an index replaced."""

    @pytest.fixture(autouse=True)
    def _without_an_index(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def build(airflow: str, form: str, target: Path) -> None:
            target.mkdir(parents=True)
            (target / "requirements.txt").write_text(OURS)
            (target / "plugins.zip").write_bytes(archive(TestPlugins.ours))
            (target / "startup.sh").write_text(TestStartup.ours)
            (target / "MANIFEST.json").write_text(json.dumps({"airflow": airflow, "wheels": {}}))

        monkeypatch.setattr(mwaa_bundle, "build", build)
        self.resolved: list[tuple[Any, ...]] = []
        monkeypatch.setattr(mwaa_bundle, "resolve_together", lambda *arguments: self.resolved.append(arguments))

    def run(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
        monkeypatch.setattr(
            sys, "argv", ["mwaa_bundle.py", "--into", str(folder), "--target", str(folder / "merged"), *arguments]
        )
        return mwaa_bundle.main()

    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "environment.json").write_text(json.dumps({"Environment": ENVIRONMENT}))
        (tmp_path / "requirements.txt").write_bytes(THEIRS.encode() + "\n# \xe9\n".encode("latin-1"))
        (tmp_path / "plugins.zip").write_bytes(archive(TestPlugins.theirs))
        return tmp_path

    def test_everything_is_merged_and_nothing_of_theirs_is_lost(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = self.folder(tmp_path)
        assert self.run(folder, monkeypatch) == 0
        merged = folder / "merged"
        assert (merged / "requirements.txt").read_bytes().startswith((folder / "requirements.txt").read_bytes())
        assert set(TestPlugins.theirs) <= set(content((merged / "plugins.zip").read_bytes()))
        update = json.loads((merged / "update.json").read_text())
        assert "AirflowVersion" not in update
        assert update["AirflowConfigurationOptions"]["core.parallelism"] == "64"
        # Options may be secrets.
        assert (merged / "update.json").stat().st_mode & 0o077 == 0
        assert not (merged / "startup.sh").exists()
        [(airflow, constraints, requirements, plugins)] = self.resolved
        assert (airflow, constraints.name, plugins) == ("3.0.6", "mwaa-3.0.6.txt", merged / "plugins.zip")
        assert "slack-sdk" in requirements

    def test_startup_script_is_merged_where_asked_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = self.folder(tmp_path)
        (folder / "startup.sh").write_text("#!/bin/sh\necho theirs\n")
        assert self.run(folder, monkeypatch, "--startup", "--no-resolve") == 0
        assert "echo theirs" in (folder / "merged" / "startup.sh").read_text()
        assert json.loads((folder / "merged" / "update.json").read_text())["StartupScriptS3Path"] == "startup.sh"
        assert self.resolved == []

    def test_what_contradicts_is_said_in_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = self.folder(tmp_path)
        (folder / "plugins.zip").write_bytes(archive({"shared-1.0-py3-none-any.whl": b"theirs"}))
        assert self.run(folder, monkeypatch) == 1
        assert "Remove it there, then merge again." in capsys.readouterr().err

    def test_version_is_the_environments(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(SystemExit):
            self.run(self.folder(tmp_path), monkeypatch, "--airflow", "3.3.1")


class TestTogether:
    """Whether merged requirements fit together, with uv's answer given."""

    def resolve(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, requirements: str, wheels: list[str]
    ) -> list[tuple[str, ...]]:
        (tmp_path / "plugins.zip").write_bytes(archive(dict.fromkeys(wheels, b"")))
        commands: list[tuple[str, ...]] = []

        def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
            wanted = Path(command[-1]).read_text()
            commands.append((*map(str, command), wanted))
            return "apache-airflow==3.0.6\n" + ("slack-sdk==3.1\nPandas_GBQ==0.29.1\n" if "slack" in wanted else "")

        monkeypatch.setattr(mwaa_packages, "run", run)
        monkeypatch.setattr(mwaa_packages, "uv", lambda: "uv")
        mwaa_packages.resolve_together(
            "3.0.6", ROOT / "constraints" / "mwaa-3.0.6.txt", requirements, tmp_path / "plugins.zip"
        )
        return commands

    def test_merged_file_is_resolved_with_mwaas_constraints_and_the_wheels(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        [command] = self.resolve(monkeypatch, tmp_path, mwaa_merge.merge_requirements(THEIRS, OURS), [])
        assert command[command.index("--constraint") + 1].endswith("mwaa-3.0.6.txt")
        assert "/usr/local/airflow/plugins" not in command[-1]
        assert "--find-links /" in command[-1]

    def test_contradiction_is_told_in_the_resolvers_words(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def fail(*command: str | Path, env: dict[str, str] | None = None) -> str:
            raise mwaa_packages.BundleError(
                f"{' '.join(map(str, command))} failed:\nBecause you require pandas==1.0 and pandas==2.1.4 ..."
            )

        (tmp_path / "plugins.zip").write_bytes(archive({}))
        monkeypatch.setattr(mwaa_packages, "run", fail)
        monkeypatch.setattr(mwaa_packages, "uv", lambda: "uv")
        with pytest.raises(mwaa_packages.BundleError) as failure:
            mwaa_packages.resolve_together(
                "3.0.6", ROOT / "constraints" / "mwaa-3.0.6.txt", "pandas==1.0\n", tmp_path / "plugins.zip"
            )
        assert str(failure.value).splitlines() == [
            "The environment's requirements.txt and the provider's do not fit together on Airflow 3.0.6. Nothing was "
            "changed there.",
            "Because you require pandas==1.0 and pandas==2.1.4 ...",
        ]

    def test_constraints_of_theirs_replace_mwaas(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        [command] = self.resolve(monkeypatch, tmp_path, "--constraint https://example.com/c.txt\nslack-sdk\n", [])
        assert "--constraint" not in command[:-1]

    def test_without_an_index_every_package_has_a_wheel(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        requirements = mwaa_merge.merge_requirements("--no-index\nslack-sdk\n", OURS)
        self.resolve(
            monkeypatch,
            tmp_path,
            requirements,
            ["slack_sdk-3.1-py3-none-any.whl", "pandas_gbq-0.29.1-py3-none-any.whl"],
        )
        with pytest.raises(mwaa_packages.BundleError, match=r"plugins\.zip no wheel of pandas-gbq\."):
            self.resolve(monkeypatch, tmp_path, requirements, ["slack_sdk-3.1-py3-none-any.whl"])
