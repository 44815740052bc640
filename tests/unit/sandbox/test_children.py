"""What the demo and the tests start ends with whoever started it, however that ends: signal, closed terminal, kill
-9.
"""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sandbox.standalone.children import Child, free_port
from tests.polling import until

ROOT = Path(__file__).parents[3]

#: A tree like Airflow's: a leader, a server that ignores SIGTERM, and a task in a process group of its own. Each writes
#: its pid when it is ready.
TREE = """
    import os, pathlib, signal, socket, subprocess, sys, time
    folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    def server():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        listener = socket.create_server(("127.0.0.1", port))
        return listener
    def task():
        os.setpgid(0, 0)
    for name, begin in (("server", server), ("task", task)):
        if os.fork() == 0:
            kept = begin()
            (folder / name).write_text(str(os.getpid()))
            time.sleep(300)
            os._exit(0)
    (folder / "leader").write_text(str(os.getpid()))
    time.sleep(300)
"""
#: Starts the tree the way the demo starts Airflow, and waits to be ended.
PARENT = """
    import pathlib, sys, time
    from sandbox.standalone.children import Child
    from sandbox.standalone.signals import ended_by_signals
    with ended_by_signals():
        with Child([sys.executable, *sys.argv[2:]], log=pathlib.Path(sys.argv[1])) as child:
            child.patience = 1.0
            print("up", flush=True)
            time.sleep(300)
"""


#: A process that outlives its parent, as a pool's worker may, and must not look like the parent.
FORK = (
    "import os; os.fork() or (os.setsid(), pathlib.Path(sys.argv[3], 'orphan').write_text(str(os.getpid())), "
    "time.sleep(60), os._exit(0))"
)
NAMES = ("server", "task", "leader")


class Tree:
    """The processes that one parent has started."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.script, self.parent = folder / "tree.py", folder / "parent.py"
        self.script.write_text(textwrap.dedent(TREE))
        self.parent.write_text(textwrap.dedent(PARENT))
        self.command = [
            sys.executable,
            str(self.parent),
            str(folder / "child.log"),
            str(self.script),
            str(folder),
            str(self.port),
        ]
        self.env = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(self) -> subprocess.Popen[bytes]:
        """Its parent, in a session of its own."""
        null = subprocess.DEVNULL
        return subprocess.Popen(self.command, env=self.env, cwd=ROOT, stdout=null, stderr=null, start_new_session=True)

    def wait_until_up(self) -> None:
        until(lambda: all((self.folder / name).exists() and (self.folder / name).read_text() for name in NAMES), 30)
        assert self.listening()

    def pids(self) -> list[int]:
        return [int((self.folder / name).read_text()) for name in NAMES if (self.folder / name).exists()]

    def alive(self) -> list[int]:
        return [pid for pid in self.pids() if lives(pid)]

    def listening(self) -> bool:
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", self.port)) == 0


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path)
    # nohup has its command ignore SIGHUP, and a shell has its background jobs ignore SIGINT. What these tests start
    # would inherit that, and wait for an end that never comes.
    inherited = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGHUP, signal.SIGINT)}
    yield made
    for number, handler in inherited.items():
        signal.signal(number, handler)
    for pid in made.alive():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name
)
def test_tree_ends_with_its_parent(tree: Tree, number: signal.Signals) -> None:
    with tree.start() as parent:
        tree.wait_until_up()
        parent.send_signal(number)
        code = parent.wait(20)
    if number in (signal.SIGTERM, signal.SIGHUP):
        # As a shell reports a command that a signal has ended.
        assert code == 128 + number
        # In good order: nothing is left when the parent is gone.
        assert tree.alive() == []
    until(lambda: not tree.alive(), 20)
    assert not tree.listening()


def test_tree_ends_with_its_terminal(tree: Tree) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(sys.executable, tree.command, tree.env)
    tree.wait_until_up()
    # Whoever writes to the terminal from now on meets EIO.
    os.close(terminal)
    os.waitpid(pid, 0)
    until(lambda: not tree.alive(), 20)
    assert not tree.listening()


def test_signal_in_the_middle_of_the_end_does_not_interrupt_it(tree: Tree) -> None:
    with tree.start() as parent:
        tree.wait_until_up()
        parent.send_signal(signal.SIGTERM)
        # The server ignores SIGTERM, so the end takes the child's patience.
        time.sleep(0.4)
        parent.send_signal(signal.SIGHUP)
        assert parent.wait(20) == 128 + signal.SIGTERM
    assert tree.alive() == []


def test_hangup_that_is_ignored_stays_ignored(tree: Tree) -> None:
    command = ["nohup", *tree.command]
    with subprocess.Popen(
        command, env=tree.env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as parent:
        tree.wait_until_up()
        parent.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert parent.poll() is None
        assert len(tree.alive()) == 3
        parent.send_signal(signal.SIGTERM)
        parent.wait(20)
    until(lambda: not tree.alive(), 20)


def test_stop_ends_a_task_in_a_group_of_its_own(tree: Tree) -> None:
    with Child(
        [sys.executable, str(tree.script), str(tree.folder), str(tree.port)], log=tree.folder / "child.log"
    ) as child:
        tree.wait_until_up()
        child.stop(1.0)
        assert tree.alive() == []


def test_what_was_stopped_is_not_watched_any_longer(tmp_path: Path) -> None:
    from sandbox.standalone import watchdog

    with Child([sys.executable, "-c", "import time; time.sleep(300)"], log=tmp_path / "log") as child:
        assert child.process.pid in watchdog.watched()
    assert child.process.pid not in watchdog.watched()


def test_child_that_a_failed_start_leaves_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sandbox.standalone import children, demo

    started: list[Child] = []

    def remember(self: Child, *arguments: object, **options: object) -> None:
        started.append(self)
        original(self, *arguments, **options)  # type: ignore[arg-type]

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    original = children.Child.__init__
    monkeypatch.setattr(children.Child, "__init__", remember)
    monkeypatch.setattr(demo, "airflow_of_this_environment", interrupted)
    with pytest.raises(KeyboardInterrupt), demo.running(tmp_path / "home", port=None, estate="tiny"):
        pytest.fail("it did not start")
    [sandbox] = started
    assert not sandbox.alive()


def test_sandbox_that_does_not_get_ready_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sandbox.standalone import children

    started: list[Child] = []

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    original = children.Child.__init__

    def remember(self: Child, *arguments: object, **options: object) -> None:
        started.append(self)
        original(self, *arguments, **options)  # type: ignore[arg-type]
        # Ctrl-C while it waits for the ready line.
        monkeypatch.setattr(children.time, "sleep", interrupted)

    monkeypatch.setattr(children.Child, "__init__", remember)
    with pytest.raises(KeyboardInterrupt):
        children.SandboxProcess("--estate", "tiny", log=tmp_path / "sandbox.log")
    monkeypatch.undo()
    until(lambda: not started[0].alive(), 20)


def test_forked_child_does_not_keep_the_pipe_open(tree: Tree) -> None:
    forking = tree.parent.read_text().replace('print("up", flush=True)', FORK)
    tree.parent.write_text(forking)
    with tree.start() as parent:
        tree.wait_until_up()
        until(lambda: (tree.folder / "orphan").exists() and bool((tree.folder / "orphan").read_text()), 20)
        orphan = int((tree.folder / "orphan").read_text())
        parent.kill()
        parent.wait(20)
        until(lambda: not tree.alive(), 30)
    assert lives(orphan)
    os.kill(orphan, signal.SIGKILL)


def test_demo_empties_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    from sandbox.standalone import demo

    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(SystemExit, match="not a folder of the demo"), demo.running(tmp_path, port=None, estate="tiny"):
        pytest.fail("it did not start")
    assert (tmp_path / "letters.txt").read_text() == "mine"


def test_program_that_forgets_its_children_ends_them_without_a_warning(tree: Tree) -> None:
    forgetful = (
        tree.parent.read_text()
        .replace("with Child(", "if child := Child(")
        .replace("time.sleep(300)", "sys.stdin.readline()")
        .replace(" as child:", ":")
    )
    tree.parent.write_text(forgetful)
    command = [tree.command[0], "-W", "error", *tree.command[1:]]
    with subprocess.Popen(
        command,
        env=tree.env,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        tree.wait_until_up()
        _, said = parent.communicate("\n", timeout=40)
    assert tree.alive() == []
    # Its own child is forgotten with a warning; the helper is not.
    assert "still running" not in said.replace(f"subprocess {tree.pids()[2]} is still running", "")
