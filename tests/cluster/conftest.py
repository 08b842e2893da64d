"""A Ray cluster on loopback: a head that only hands work out, and two machines, of one core and of two.

The second says that it has two GPUs. Ray takes its word for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/cluster/" in item.path.as_posix():
            item.add_marker(pytest.mark.cluster)


def started(start: Callable[[], Any]) -> Any:
    """What `start` returns. Ray waits for 30 s, in which a busy machine may not get it started."""
    for _ in range(3):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return start()


@dataclass
class Nodes:
    """A cluster, whose machines can be taken away and added.

    Machines differ in what a library on them would take for its number of threads.
    """

    cluster: Any
    workers: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.cluster.address

    def add(self) -> None:
        number = len(self.workers)
        threads = {"OMP_NUM_THREADS": str(1 + number)}
        add = partial(self.cluster.add_node, num_cpus=1 + number, num_gpus=2 * number, env_vars=threads)
        self.workers.append(started(add))

    def remove(self) -> None:
        """Kills the processes of a machine, as when its power fails."""
        self.cluster.remove_node(self.workers.pop(), allow_graceful=False)


@pytest.fixture(scope="session")
def _running() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # loopback only, see `ray_cluster`
        patch.setenv("OMP_NUM_THREADS", "1")
        ray = pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False}
        cluster = started(partial(Cluster, initialize_head=True, head_node_args=head))
        nodes = Nodes(cluster)
        nodes.add()
        nodes.add()
        yield nodes
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def nodes(_running: Nodes) -> Nodes:
    """The cluster, with two machines at the beginning of the test."""
    while len(_running.workers) < 2:
        _running.add()
    return _running


@pytest.fixture
def restem() -> Callable[..., None]:
    """Runs a command in this process: `restem("scan", folder)`; it must succeed."""
    from restem.cli.main import run_command

    def run(*arguments: object) -> None:
        assert run_command([os.fspath(one) if hasattr(one, "__fspath__") else str(one) for one in arguments]) == 0

    return run
