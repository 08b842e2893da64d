"""Applies one function to many items: here, in processes of this machine, or on a Ray cluster.

`interface.Executor` is the interface that the rest of restem uses, and `choosing.executor_for` makes one of its two
implementations: `processes.Processes` and `ray_cluster.RayCluster`.
"""
