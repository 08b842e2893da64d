"""Which executor does the work: worker processes of this machine, or a Ray cluster."""

from __future__ import annotations

from restem.executing.interface import Executor
from restem.executing.processes import Processes


def executor_for(workers: int | None, ray: str | None = None) -> Executor:
    """The executor that `workers` and `ray` ask for.

    workers: how many calls are made at once; by default as many as there are cores. ray: None for processes of this
    machine; else a Ray cluster, see `ray_cluster.RayCluster`.
    Raises UsageError for fewer than one worker or what is no address, RestemError when the cluster cannot be used.
    """
    if ray is None:
        return Processes.of(workers)
    from restem.executing.ray_cluster import RayCluster

    return RayCluster(ray, workers)
