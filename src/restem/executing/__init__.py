"""The same function over many items, in the processes of this machine.

`interface.Executor` says what the rest of restem asks for; `processes.Processes` is the one implementation.
"""
