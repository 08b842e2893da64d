"""Applies one function to many items, in processes of this machine.

`interface.Executor` is the interface that the rest of restem uses; `processes.Processes` is its one implementation.
"""
