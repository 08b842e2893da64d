"""What is said when a Ray cluster cannot be used; nothing here starts one, see tests/cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from restem._version import __version__
from restem.cli.main import run_command
from restem.errors import RestemError, UsageError
from restem.executing import ray_cluster
from restem.executing.choosing import executor_for
from restem.executing.processes import Processes


def test_without_an_address_it_is_this_machine() -> None:
    assert executor_for(3) == Processes(3)


@pytest.mark.parametrize("address", ["", "locally", "ray://10.0.0.1:10001", "10.0.0.1", "10.0.0.1:port", "a b:1"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UsageError, match=r"`ray` is `local`, `auto` or HOST:PORT"):
        executor_for(None, address)


def test_the_command_line_says_it_as_an_option(
    write_songs: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["scan", str(write_songs(tmp_path / "songs", songs=1)), "--ray", "locally"]) == 2
    assert "--ray is `local`, `auto` or HOST:PORT, not 'locally'" in capsys.readouterr().err


def test_no_workers() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        executor_for(0, "local")


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RestemError, match=r"Ray is not installed; `ray` needs `pip install 'restem\[cluster\]'`"):
        executor_for(None, "local")


class FakeRay(SimpleNamespace):
    """Stands in for Ray where it is not installed."""

    def __init__(self, error: Exception | None = None, connected: str | None = None) -> None:
        def init(**_: object) -> None:
            assert error is not None
            raise error

        super().__init__(
            init=init,
            is_initialized=lambda: connected is not None,
            get_runtime_context=lambda: SimpleNamespace(gcs_address=connected),
        )


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "localhost:1", "127.0.0.1:99999"])
def test_nothing_answers(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", FakeRay())
    with pytest.raises(RestemError, match="no Ray cluster answers; start one with `ray start --head`") as caught:
        executor_for(None, address)
    assert str(caught.value).startswith(address)


def test_this_machine_belongs_to_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", FakeRay(ConnectionError("Could not find any running Ray instance.")))
    with pytest.raises(RestemError, match="This machine belongs to no Ray cluster; start one"):
        executor_for(None, "auto")


def test_other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of the error is Ray's own, where Ray is there to make it."""
    text = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.12.1\n"
        "This process on node 10.0.0.2 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    )
    try:
        from ray._private.utils import check_version_info
    except ModuleNotFoundError:
        pass
    else:
        with pytest.raises(RuntimeError) as theirs:
            check_version_info({"ray_version": "2.9.0", "python_version": "3.12.1"}, "node 10.0.0.2")
        text = str(theirs.value)
    monkeypatch.setitem(sys.modules, "ray", FakeRay(RuntimeError(text)))
    with pytest.raises(RestemError) as caught:
        executor_for(None, "auto")
    message = str(caught.value)
    assert "\n" not in message and "Ray 2.9.0, Python 3.12.1" in message and "install the same on all" in message


def test_another_cluster_than_the_connected_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", FakeRay(connected="10.0.0.1:6379"))
    assert executor_for(None, "10.0.0.1:6379") == ray_cluster.RayCluster("10.0.0.1:6379")
    with pytest.raises(UsageError, match=r"connected with the Ray cluster 10\.0\.0\.1:6379"):
        executor_for(None, "10.0.0.2:6379")


def test_a_machine_that_is_not_like_the_sender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = ray_cluster._Work(__version__, tmp_path, len)
    assert ray_cluster._call(here, ["a", "bc"]) == [1, 2]
    with pytest.raises(RestemError, match=rf"has restem {__version__}, and the machine that sends the work 0\.0\.1"):
        ray_cluster._call(replace(here, version="0.0.1"), ["a"])
    with pytest.raises(RestemError, match=r"has no folder .*nowhere, in which the command was started"):
        ray_cluster._call(replace(here, folder=tmp_path / "nowhere"), ["a"])
