"""`--ray local`: a cluster of this machine alone, which nobody else can reach and which ends with the command."""

from __future__ import annotations

import ipaddress
import json
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest


def test_it_listens_on_loopback_only_and_ends_with_its_process(start_python: Callable, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "only_here.py").write_text("def halve(number):\n    return number / 2\n")
    program = """
import json, math, psutil, sys
from restem.executing.ray_cluster import RayCluster
cluster = RayCluster("local", 2)
assert sorted(cluster.map_unordered(math.sqrt, [4.0, 9.0])) == [(0, 2.0), (1, 3.0)]
assert cluster.choose_device("auto") in ("cpu", "cuda")
sys.path.append(sys.argv[1])
from only_here import halve
try:
    list(cluster.map_unordered(halve, [1.0]))
except Exception as error:
    said = str(error)
import ray
children = psutil.Process().children(recursive=True)
processes = [psutil.Process(), *children]
environments = [e for e in (p.environ() for p in children) if e]  # that of a process that named itself cannot be read
heard = [c.laddr.ip for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
print(json.dumps({
    "said": said,
    "heard": heard, "cores": ray.cluster_resources()["CPU"],
    "dashboard": ray._private.worker.global_worker.node.webui_url,
    "reports": [e.get("RAY_USAGE_STATS_ENABLED") for e in environments],
    "processes": [p.pid for p in processes],
}), flush=True)
sys.stdin.read()
"""
    process = start_python("-c", program, str(tmp_path))
    lines = []
    while not lines or not lines[-1].startswith("{"):
        lines.append(process.stdout.readline())
        assert lines[-1], "".join(lines)
    found = json.loads(lines[-1])
    assert "lacks what the work needs (No module named 'only_here'); install" in found["said"]
    assert len(found["heard"]) >= 3
    assert all((ip := ipaddress.ip_address(one)).is_loopback or ip.ipv4_mapped.is_loopback for one in found["heard"])
    assert found["cores"] == 2.0
    assert not found["dashboard"] and set(found["reports"]) == {"0"}
    # Ray's agents try for another minute to tell the others that they end.
    started = [one for one in map(psutil.Process, found["processes"]) if not one.name().endswith("Agent")]
    assert len(started) >= 5
    process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not alive
