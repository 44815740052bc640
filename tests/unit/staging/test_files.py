"""The run's folder: files that are there whole or not at all, on a disk and on (a stand-in for) an object store."""

from __future__ import annotations

import builtins
import errno
import gzip
import os
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.staging import files
from airflow_provider_tenable.staging.files import (
    is_local,
    names,
    read_json,
    read_whole,
    remove,
    write_json,
    write_whole,
)
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.location import default_staging_uri, open_path
from airflow_provider_tenable.staging.parts import PartWriter, compress, read_lines, read_part, write_lines


class Killed(BaseException):
    """The process dies here: no handler runs."""


@pytest.fixture(scope="module", autouse=True)
def _memory_store():
    """Airflow knows no memory store by itself."""
    from fsspec.implementations.memory import MemoryFileSystem

    from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS

    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.io import attach
    else:
        from airflow.io.store import attach
    attach("memory", fs=MemoryFileSystem())


@pytest.fixture(params=["file", "memory"])
def base(request, tmp_path):
    """A staging area on disk, and one in fsspec's memory, which puts objects whole as an object store does."""
    if request.param == "file":
        return f"file://{tmp_path}"
    return f"memory://staging-{uuid.uuid4().hex}"


@pytest.fixture
def local(tmp_path):
    return open_path(f"file://{tmp_path}")


# What both kinds of store do.


def test_a_file_is_created_once(base):
    path = open_path(base) / "deployment" / "owner.json"
    assert files.create_json(path, {"owner": "first"})
    assert not files.create_json(path, {"owner": "second"})
    assert read_json(path) == {"owner": "first"}
    # Nothing is left over.
    assert [entry.name for entry in path.parent.iterdir()] == ["owner.json"]


@pytest.mark.parametrize("_", range(3))
def test_one_of_several_at_the_same_time_creates_the_file(base, _):
    path = open_path(base) / "owner.json"
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda number: (files.create_json(path, {"owner": number}), number), range(8)))
    assert [number for was_created, number in created if was_created] == [read_json(path)["owner"]]


def test_file_system_without_hard_links_creates_the_file_too(local, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOTSUP, "no hard links")

    monkeypatch.setattr(files.os, "link", unsupported)
    path = local / "owner.json"
    assert files.create_json(path, {"owner": "first"})
    assert not files.create_json(path, {"owner": "second"})
    assert read_json(path) == {"owner": "first"}
    assert os.listdir(local.path) == ["owner.json"]


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.EIO, "501"), TypeError("mode")])
def test_object_store_without_conditional_writes_creates_the_file_too(monkeypatch, error):
    path = open_path(f"memory://staging-{uuid.uuid4().hex}") / "owner.json"
    real = path.fs.pipe_file

    def pipe_file(name, data, **options):
        if options:
            raise error
        real(name, data)

    monkeypatch.setattr(path.fs, "pipe_file", pipe_file)
    assert files.create_json(path, {"owner": "first"})
    assert not files.create_json(path, {"owner": "second"})
    assert read_json(path) == {"owner": "first"}


def test_what_is_written_is_read_back_and_written_over(base):
    path = open_path(base) / "a" / "b" / "file"
    write_whole(path, b"one, longer")
    write_whole(path, b"two")
    assert read_whole(path) == b"two"
    assert names(path.parent) == ["file"]


def test_a_file_that_is_gone_is_a_staging_error_that_names_it(base):
    with pytest.raises(
        StagingError, match=r"The staged file .*missing is missing. Clear the run's tasks from the export on"
    ):
        read_whole(open_path(base) / "missing")
    with pytest.raises(StagingError, match=r"missing\.gz is missing"):
        read_part(open_path(base) / "missing.gz")


def test_json_survives_and_is_the_same_bytes_for_the_same_value(base):
    folder = open_path(base)
    assert read_json(folder / "none.json") is None
    write_json(folder / "a.json", {"b": [1, None, "é"], "a": {"y": 1.5, "x": True}})
    write_json(folder / "b.json", {"a": {"x": True, "y": 1.5}, "b": [1, None, "é"]})
    assert read_json(folder / "a.json") == {"a": {"x": True, "y": 1.5}, "b": [1, None, "é"]}
    assert read_whole(folder / "a.json") == read_whole(folder / "b.json")


@pytest.mark.parametrize("damage", [b"", b"{", b"{}{}", b'"\xff"', b"\x00", b"[1,"])
def test_damaged_json_is_a_staging_error_that_names_the_file(base, damage):
    path = open_path(base) / "run.json"
    write_whole(path, damage)
    with pytest.raises(StagingError, match=r"run\.json is damaged .* Remove the run's folder and clear the run"):
        read_json(path)


def damaged(good):
    yield from [b"", good[:1], good[:10], good[: len(good) // 2], good[:-8], good[:-1], b"no gzip", good + b"junk"]
    for at in (0, 3, len(good) // 2, len(good) - 5, len(good) - 1):
        yield good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :]


def test_a_damaged_part_is_a_staging_error_wherever_it_is_damaged(base):
    path = open_path(base) / "part.gz"
    good = compress(os.urandom(300))
    for broken in damaged(good):
        if broken[3:4] != good[3:4] and len(broken) == len(good):
            # The header's flags: other damage than that of the data.
            continue
        write_whole(path, broken)
        with pytest.raises(StagingError, match=r"part\.gz is damaged .* Clear the run's tasks from the export on"):
            read_part(path)


def test_lines_survive_and_blank_ones_are_none(base):
    folder = open_path(base)
    name = write_lines(folder, "part-7", [b'{"a":1}', b"", "é\u2028".encode()])
    assert name == "part-7.jsonl.gz"
    assert list(read_lines(folder / name)) == [b'{"a":1}', "é\u2028".encode()]
    assert list(read_lines(folder / write_lines(folder, "empty", []))) == []


def test_the_same_lines_are_the_same_bytes_and_the_same_name(base):
    folder = open_path(base)

    def write(stem, lines):
        writer = PartWriter(folder, stem, by_content=True)
        for line in lines:
            writer.write(line)
        return writer, writer.close()

    first, name = write("part", [b"a", b"bc"])
    content = read_whole(folder / name)
    _, again = write("part", [b"a", b"bc"])
    _, other = write("part", [b"ab", b"c"])
    assert name == again != other
    assert read_whole(folder / again) == content
    assert name.startswith("part-")
    assert name.endswith(".jsonl.gz")
    assert len(name) == len("part-") + 16 + len(".jsonl.gz")
    assert (first.lines, first.raw_bytes) == (2, 5)


def test_a_part_is_not_there_before_it_is_closed(base):
    folder = open_path(base)
    writer = PartWriter(folder, "part")
    writer.write(b"line")
    assert names(folder) == []
    writer.close()
    assert names(folder) == ["part.jsonl.gz"]


def test_names_are_sorted_and_a_missing_folder_has_none(base):
    folder = open_path(base) / "folder"
    assert names(folder) == []
    for name in ("b", "a", "c.1234.tmp"):
        write_whole(folder / name, b"")
    assert names(folder) == ["a", "b"]


def test_a_store_that_lists_the_folder_in_itself_and_ends_folders_with_a_slash(monkeypatch):
    folder = open_path("memory://staging") / uuid.uuid4().hex
    write_whole(folder / "file", b"")
    write_whole(folder / "sub" / "file", b"")
    ls = type(folder.fs).ls
    monkeypatch.setattr(
        type(folder.fs), "ls", lambda self, path, **how: [f"{path}/", *(f"{each}/" for each in ls(self, path, **how))]
    )
    assert names(folder) == ["file", "sub"]


def test_a_file_has_no_names_below_it(base):
    file = open_path(base) / "run" / "file"
    write_whole(file, b"")
    assert names(file) == []


def test_what_another_process_writes_is_seen_by_names(base):
    folder = open_path(base) / "folder"
    write_whole(folder / "a", b"")
    names(folder)
    write_whole(open_path(base) / "folder" / "b", b"")
    assert names(folder) == ["a", "b"]


def test_removing_takes_the_folder_and_all_in_it_and_nothing_beside_it(base):
    write_whole(open_path(base) / "run" / "deep" / "file", b"x")
    write_whole(open_path(base) / "run2" / "file", b"x")
    remove(open_path(base) / "run")
    assert names(open_path(base) / "run") == []
    assert names(open_path(base) / "run2") == ["file"]
    remove(open_path(base) / "run")


@pytest.mark.parametrize(
    "run_id",
    [
        "scheduled__2026-01-01T00:00:00+00:00",
        "manual__2026-11-23T14:00:00.123456+00:00",
        "a b",
        "über",
        "~",
        "x--y",
        "..x",
        "%41",
        "run.tmp",
        "a:b",
    ],
)
def test_each_run_has_a_folder_of_its_own_name(base, run_id):
    run = RunFolder(base, "dag", run_id)
    write_json(run.plan, {"id": run_id})
    assert names(run.dag_root) == ([run_id] if not run_id.endswith(".tmp") else [])
    assert read_json(RunFolder(base, "dag", run_id).plan) == {"id": run_id}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "../other", "parked", "a\0b"])
@pytest.mark.parametrize("which", ["dag_id", "run_id"])
def test_names_that_lead_elsewhere_are_refused(base, name, which):
    with pytest.raises(ConfigurationError, match=r"cannot be the name of a staging folder. Use another run_id"):
        RunFolder(base, **{"dag_id": "dag", "run_id": "run", which: name})


def test_the_layout_is_the_contracts(base):
    run = RunFolder(base, "dag", "run")
    root = str(open_path(base) / "dag" / "run")
    where = {
        "run.json": run.plan,
        "shards.json": run.shards,
        "ledger.json": run.ledger,
        "assets": run.export("assets"),
        "vulnerabilities": run.export("vulnerabilities"),
        "findings/123456789012/eu-west-1": run.destination("123456789012", "eu-west-1"),
        "findings/shard-0003.json": run.shard_manifest(3),
        "receipts/123456789012/eu-west-1.jsonl": run.receipts("123456789012", "eu-west-1"),
        "rejected": run.rejected,
        "parked": run.parked,
    }
    assert {name: str(path) for name, path in where.items()} == {name: f"{root}/{name}" for name in where}
    assert str(run.parked_pool) == str(open_path(base) / "dag" / "parked")


def test_local_is_only_this_machines_disk(tmp_path):
    assert is_local(open_path(f"file://{tmp_path}"))
    assert not is_local(open_path("memory://x"))


def test_a_staging_path_that_nothing_opens_is_a_configuration_error():
    with pytest.raises(
        ConfigurationError, match=r"The staging path 'nonsense://x' cannot be opened: .* airflow-provider-tenable\[s3\]"
    ):
        open_path("nonsense://x")


# What a disk does.


@pytest.mark.parametrize("dies", ["fsync", "replace", "open", "write"])
def test_a_process_that_dies_while_it_writes_leaves_the_old_file_whole(local, tmp_path, monkeypatch, dies):
    path = local / "folder" / "file"
    write_whole(path, b"old")

    def die(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        if dies == "open":
            patch.setattr(builtins, "open", die)
        elif dies == "write":
            real = builtins.open

            def half(*args, **kwargs):
                file = real(*args, **kwargs)
                write = file.write

                class Half:
                    __enter__ = lambda self: self  # noqa: E731
                    __exit__ = lambda self, *_: file.close()  # noqa: E731

                    def write(self, data):
                        write(data[: len(data) // 2])
                        raise Killed

                return Half()

            patch.setattr(builtins, "open", half)
        else:
            patch.setattr(os, dies, die)
        with pytest.raises(Killed):
            write_whole(path, b"new and longer")
    assert read_whole(path) == b"old"
    assert names(local / "folder") == ["file"]
    write_whole(path, b"new")
    assert read_whole(path) == b"new"


def test_a_file_that_never_came_to_be_is_not_there(local, monkeypatch):
    def die(*args):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(Killed):
            write_whole(local / "file", b"new")
    assert names(local) == []
    assert read_json(local / "file") is None


def test_the_data_is_flushed_to_disk_before_it_gets_its_name(local, tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (steps.append(("fsync", os.fstat(number).st_size)), fsync(number)))
    monkeypatch.setattr(
        os, "replace", lambda source, target: (steps.append(("replace", target)), replace(source, target))
    )
    write_whole(local / "file", b"12345")
    assert steps == [("fsync", 5), ("replace", str(tmp_path / "file"))]


MAKE_ROOM = "Free space, or point [tenable] staging_path elsewhere, and clear the task."
MOUNT = "Mount it writable, or point [tenable] staging_path elsewhere, and clear the task."
NAME = (
    "The file system does not accept this name. Trigger the run with a shorter run_id of letters, digits, - and _, "
    "or point [tenable] staging_path at another"
)
OTHER = "Correct that, or point [tenable] staging_path elsewhere, and clear the task."
WRITING = {
    errno.ENOSPC: MAKE_ROOM, errno.EDQUOT: MAKE_ROOM, errno.EFBIG: MAKE_ROOM, errno.EROFS: MOUNT,
    errno.ENAMETOOLONG: NAME, errno.EINVAL: NAME,
    errno.EIO: OTHER, errno.ESTALE: OTHER, errno.ENOTDIR: OTHER,
}  # fmt: skip


@pytest.mark.parametrize("where", ["fsync", "replace", "mkdir"])
@pytest.mark.parametrize("number", WRITING, ids=errno.errorcode.get)
def test_a_disk_that_does_not_take_it_is_a_staging_error_with_advice_for_its_cause(
    local, tmp_path, monkeypatch, where, number
):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, where, fail)
        with pytest.raises(StagingError) as failure:
            write_whole(local / "run" / "file", b"data")
    assert str(failure.value).startswith(f"Cannot write {tmp_path}/run/file: {os.strerror(number)}. {WRITING[number]}")
    assert list(tmp_path.rglob("file*")) == []
    write_whole(local / "run" / "file", b"data")


@pytest.mark.parametrize("where", ["fsync", "replace", "mkdir"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM], ids=errno.errorcode.get)
def test_a_folder_that_belongs_to_somebody_else_is_a_staging_error_that_says_so(
    local, tmp_path, monkeypatch, where, number
):
    def fail(*args, **kwargs):
        raise PermissionError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, where, fail)
        words = (
            rf"Cannot write {tmp_path}/run/file: {os.strerror(number)} for this task's OS user \(uid {os.geteuid()}\)"
        )
        with pytest.raises(StagingError, match=words) as error:
            write_whole(local / "run" / "file", b"data")
    assert "run_as_user" in str(error.value)
    assert list(tmp_path.rglob("file*")) == []


def test_a_name_that_is_really_too_long_says_so(local):
    with pytest.raises(
        StagingError,
        match=r"Cannot write .*: File name too long\. The file system does not accept this name\. Trigger the run with "
        r"a shorter run_id",
    ):
        write_whole(local / ("x" * 256) / "run.json", b"{}")


@pytest.mark.parametrize("read", [read_whole, read_json, read_part], ids=["file", "json", "part"])
@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EACCES, " for this task's OS user "), (errno.EIO, ". Correct that, and clear the task.")],
)
def test_a_file_that_cannot_be_read_is_a_staging_error_with_advice(local, tmp_path, monkeypatch, read, number, advice):
    write_whole(local / "file", b"{}")

    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    for name in ("builtins.open", "io.open"):
        monkeypatch.setattr(name, fail)
    with pytest.raises(StagingError) as failure:
        read(local / "file")
    monkeypatch.undo()
    assert str(failure.value).startswith("Cannot read ")
    assert f"{tmp_path}/file: {os.strerror(number)}{advice}" in str(failure.value)


@pytest.mark.parametrize(
    "refused",
    [PermissionError(errno.EACCES, "Access Denied"), FileNotFoundError("The specified bucket does not exist")],
)
def test_a_bucket_that_does_not_take_it_is_a_staging_error_with_advice(refused):
    class InBucket:
        protocol = "s3"
        path = "bucket/run.json"

        def __str__(self):
            return "s3://aws_default@bucket/run.json"

        @property
        def fs(self):
            return self

        def pipe_file(self, path, data):
            raise refused

    with pytest.raises(
        StagingError,
        match=r"Cannot write s3://aws_default@bucket/run.json: (Access Denied|The specified .* exist)\. Check the "
        r"bucket's name",
    ):
        write_whole(InBucket(), b"data")


def test_a_file_where_a_folder_should_be_is_a_staging_error(local):
    write_whole(local / "run", b"")
    with pytest.raises(StagingError, match="Cannot write"):
        write_whole(local / "run" / "file", b"")


def test_a_disk_that_is_really_full_is_a_staging_error(local, tmp_path):
    import resource
    import signal

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        with pytest.raises(StagingError, match=r"Cannot write .*File too large"):
            write_whole(local / "file", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == []


def test_compression_holds_no_time_and_is_plain_gzip():
    assert compress(b"data") == compress(b"data")
    assert compress(b"data")[4:8] == bytes(4)
    assert gzip.decompress(compress(b"data")) == b"data"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=200).filter(lambda line: b"\n" not in line), max_size=30))
def test_any_lines_without_newlines_survive(lines):
    folder = open_path("memory://any-lines")
    assert list(read_lines(folder / write_lines(folder, "part", lines))) == lines


def test_the_default_is_a_folder_in_airflows_home(monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    assert default_staging_uri() == f"file://{tmp_path}/home/tenable_staging"
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", "s3://aws_default@bucket/prefix")
    assert default_staging_uri() == "s3://aws_default@bucket/prefix"


@pytest.mark.parametrize("uri", ["~/staged", "file://~/staged", "file:~/staged"])
def test_a_home_is_expanded_and_not_a_folder_of_that_name(monkeypatch, tmp_path, uri):
    (tmp_path / "home").mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", uri)
    write_whole(open_path(default_staging_uri()) / "dag" / "file", b"x")
    write_whole(RunFolder(default_staging_uri(), "dag", "run").plan, b"x")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "home/staged/dag/file",
        "home/staged/dag/run/run.json",
    ]


@pytest.mark.parametrize(
    "uri",
    [
        "staged",
        "./staged",
        "../staged",
        "",
        "file://staged/here",
        "file:staged",
        "file://",
        "~nobody-of-that-name/staged",
        "file://localhost/x",
    ],
)
def test_a_relative_path_is_refused_with_what_to_write_instead(monkeypatch, tmp_path, uri):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as failure:
        open_path(uri)
    assert str(failure.value) == (
        f"The staging path {uri!r} is relative, so it would be a different folder for every process. Make it absolute, "
        "such as file:///opt/airflow/tenable_staging, or begin it with ~/ for the home directory of the user that "
        "runs Airflow."
    )


@pytest.mark.parametrize("form", ["{}", "file://{}", "file:{}"])
def test_a_path_from_the_root_on_is_taken_as_it_is(tmp_path, form):
    write_whole(open_path(form.format(tmp_path / "a ~b:c")) / "file", b"x")
    assert (tmp_path / "a ~b:c" / "file").read_bytes() == b"x"


def test_the_folder_of_a_task_follows_from_its_context(tmp_path, monkeypatch):
    from types import SimpleNamespace

    context = {"dag_run": SimpleNamespace(dag_id="d", run_id="r")}
    assert str(RunFolder.of(context, f"file://{tmp_path}").root) == f"file://{tmp_path}/d/r"
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}/other")
    assert RunFolder.of(context).root.path == f"{tmp_path}/other/d/r"


def test_staging_is_imported_without_the_heavy_libraries():
    import subprocess
    import sys

    code = (
        "import sys; import airflow_provider_tenable.staging.files; sys.exit(any(name in sys.modules for name in "
        "('pandas', 'msgspec', 'airflow', 'boto3')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert files.__doc__
