"""The executor for a cluster, or for one machine with several GPUs: tasks of Ray Core.

Ray decides where a task runs, makes it again elsewhere when its process or machine dies, and gives each task GPUs of
its own. What is here is a window, so that a million items are not a million waiting tasks; and what becomes of a task
that dies every time.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restem._version import __version__
from restem.errors import RestemError, UsageError
from restem.executing.interface import Item, Lost, Result
from restem.executing.processes import available_cores
from restem.wording import extra_command

RETRIES = 3
"""How often a task whose process or machine dies is made again."""

# Tasks that are sent for each that can run: one waits on its machine while another runs there. And more waiting tasks
# than cores are what a cluster that grows by itself goes by. Of chunks, which may end within a few ms, more are sent.
_SENT, _CHUNKS_SENT = 2, 4

# How often the size of the cluster is asked for; machines come and go.
_LOOK_S = 5.0

# Up to this size, what all tasks share is sent with each: to fetch an object beside the task takes a third of the time
# of a task that does nothing.
_SMALL_BYTES = 1 << 15

_ANSWER_S = 5.0
_ADDRESS = re.compile(r"(?P<host>[^\s:/]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_DIED = "its process died every time, perhaps for lack of memory"


@dataclass(frozen=True)
class RayCluster:
    """An `Executor` (see `restem.executing.interface`) on a Ray cluster.

    address: `local`, a cluster of this machine alone, which ends with this process and can be reached from this machine
    only; `auto`, the cluster that this machine belongs to; or HOST:PORT, that of another's head. A connection that the
    program has made itself, with `ray.init`, is used as it is. workers: how many calls are made at once; by default as
    many as the cluster has cores.
    Raises UsageError for what is no address, or fewer than one worker; RestemError when Ray is not installed, nothing
    answers, or the cluster has another version of Ray or Python.
    """

    address: str
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"`workers` must be at least 1, not {self.workers}.")
        if self.address not in ("local", "auto") and not _ADDRESS.fullmatch(self.address):
            raise UsageError(f"`ray` is `local`, `auto` or HOST:PORT, not {self.address!r}.")
        _connect(self.address, self.workers)

    def map_unordered(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        cpus: int = 1,
        gpus: int = 0,
        chunk: int = 1,
        lost: Lost[Item, Result] | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """See `Executor.map_unordered`. Arrays that the function holds are sent once to a machine, and cannot be
        written to there."""
        import ray
        from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayError, WorkerCrashedError

        cpus = min(cpus, _cores_of_a_machine())
        call: Any = ray.remote(_call).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, scheduling_strategy="SPREAD"
        )  # fmt: skip
        work = _Work(__version__, Path.cwd(), function)
        shared = work if _is_small(work) else ray.put(work)
        waiting = deque(range(start, min(start + chunk, len(items))) for start in range(0, len(items), chunk))
        running: dict[Any, range] = {}
        window, looked = 0, -_LOOK_S
        try:
            while waiting or running:
                if time.monotonic() - looked >= _LOOK_S:
                    window, looked = self._window(cpus, gpus, chunk), time.monotonic()
                while waiting and len(running) < window:
                    some = waiting.popleft()
                    running[call.remote(shared, [items[index] for index in some])] = some
                (ready,), _ = ray.wait(list(running), num_returns=1)
                some = running.pop(ready)
                try:
                    yield from zip(some, _result(ready), strict=True)
                except (WorkerCrashedError, NodeDiedError, OutOfMemoryError, ObjectLostError) as error:
                    if len(some) > 1:
                        waiting.extendleft(range(index, index + 1) for index in some)
                    elif lost is not None:
                        yield some[0], lost(items[some[0]], _DIED)
                    else:
                        raise RestemError(f"A task failed: {_DIED}; give it a machine with more.") from error
                except RayError as error:
                    if missing := re.search(r"No module named '[^']+'", str(error)):
                        raise _lacks(missing[0]) from error
                    first = str(error).strip().splitlines()[0]
                    raise RestemError(
                        f"The Ray cluster failed ({first}); the same command goes on from here."
                    ) from error
        finally:
            for one in running:
                ray.cancel(one, force=True)

    def choose_device(self, device: str) -> str:
        """See `Executor.choose_device`: `cuda` where a machine of the cluster has a GPU."""
        has_gpu = _resources().get("GPU", 0.0) > 0.0
        if device == "auto":
            return "cuda" if has_gpu else "cpu"
        if device not in ("cpu", "cuda") or (device == "cuda" and not has_gpu):
            raise UsageError(f"The Ray cluster has no device {device!r}; use `device='auto'`.")
        return device

    def _window(self, cpus: int, gpus: int, chunk: int) -> int:
        """How many tasks may be sent at once, by what the cluster has now."""
        has = _resources()
        slots = int(has.get("CPU", 0.0)) // cpus
        if gpus:
            slots = min(slots, int(has.get("GPU", 0.0)) // gpus)
        window = (_SENT if chunk == 1 else _CHUNKS_SENT) * max(1, slots)
        return window if self.workers is None else min(window, self.workers)


def _resources() -> dict[str, float]:
    """What the cluster has now: `CPU`, `GPU`, ..."""
    import ray

    return ray.cluster_resources()  # type: ignore[no-untyped-call]


def _cores_of_a_machine() -> int:
    """How many cores the largest machine of the cluster has; a task that asked for more would wait for ever."""
    import ray

    cores = [one["Resources"].get("CPU", 0.0) for one in ray.nodes() if one["Alive"]]  # type: ignore[no-untyped-call]
    return max(1, int(max(cores, default=1.0)))


@dataclass(frozen=True)
class _Work:
    """What all tasks share: the version that sends them, the folder that paths are relative to, and the function."""

    version: str
    folder: Path
    function: Callable[[Any], Any]


def _is_small(work: _Work) -> bool:
    """Whether it is sent with each task: it holds no array, and little else."""
    from ray import cloudpickle

    arrays: list[Any] = []  # they are not copied
    pickled = cloudpickle.dumps(work, protocol=5, buffer_callback=arrays.append)  # type: ignore[no-untyped-call]
    return len(pickled) <= _SMALL_BYTES and not arrays


def _call(work: _Work, items: list[Any]) -> list[Any]:
    """The task: calls the function for some items."""
    host = socket.gethostname()
    if work.version != __version__:
        raise RestemError(
            f"{host}: has restem {__version__}, and the machine that sends the work {work.version}; "
            "install the same on all."
        )
    try:
        os.chdir(work.folder)
    except OSError as error:
        raise RestemError(
            f"{host}: has no folder {work.folder}, in which the command was started; start it in one that all machines "
            "of the cluster have."
        ) from error
    return [work.function(item) for item in items]


def _result(ready: Any) -> Any:
    """The results of a task that has ended; raises what its function raised."""
    import ray
    from ray.exceptions import RayTaskError

    try:
        return ray.get(ready)
    except RayTaskError as error:
        if "failed to import on the worker" in str(error.cause) or isinstance(error.cause, ModuleNotFoundError):
            raise _lacks(str(error.cause).strip().splitlines()[-1]) from error
        raise error.cause from None


def _lacks(missing: str) -> RestemError:
    """The error where a machine has not installed what the work needs. missing: what, as Python says it."""
    return RestemError(f"A machine of the Ray cluster lacks what the work needs ({missing}); install the same on all.")


def _connect(address: str, workers: int | None) -> None:
    """Connects this process with a cluster, unless it is connected already; errors as of `RayCluster`."""
    # Read by Ray when it is imported and started. Nothing is reported to Ray's makers; a task that has no room is not
    # made again for ever; the machine's cluster only listens on loopback, whatever the system.
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_task_oom_retries": str(RETRIES)}
    if address == "local":
        settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    with _environment(settings):
        try:
            import ray
        except ModuleNotFoundError as error:
            if error.name != "ray":
                raise
            raise RestemError(f"Ray is not installed; `ray` needs {extra_command('cluster')}.") from error
        if ray.is_initialized():
            connected = ray.get_runtime_context().gcs_address
            if address not in ("local", "auto", connected):
                raise UsageError(f"This program is connected with the Ray cluster {connected}; `ray` must name it.")
            return
        more: dict[str, Any] = {}
        if address == "local":
            more = {"num_cpus": workers or available_cores(), "include_dashboard": False}
        elif address != "auto":
            _check_answers(address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **more)
        except (OSError, ValueError) as error:
            raise RestemError(_silent(address)) from error
        except Exception as error:  # that is what Ray raises, as when its processes do not start in 30 s
            raise RestemError(_told(address, str(error))) from error


def _check_answers(address: str) -> None:
    """Raises RestemError when nothing listens at an address; Ray itself would try for a minute."""
    found = _ADDRESS.fullmatch(address)
    assert found is not None
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise RestemError(_silent(address)) from error


def _silent(address: str) -> str:
    place = "This machine belongs to no Ray cluster" if address == "auto" else f"{address}: no Ray cluster answers"
    return f"{place}; start one with `ray start --head`, or use `ray='local'`."


def _told(address: str, problem: str) -> str:
    """What Ray says when it cannot connect or start, in one line."""
    if "Version mismatch" in problem:
        versions = re.findall(r"(Ray|Python): *(\S+)", problem)
        theirs, ours = versions[: len(versions) // 2], versions[len(versions) // 2 :]
        named = " and ".join(", ".join(f"{name} {version}" for name, version in one) for one in (theirs, ours))
        return f"{address}: the cluster and this machine have different versions ({named}); install the same on all."
    return f"{address}: the Ray cluster cannot be used ({problem.strip().splitlines()[0]})."


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Sets environment variables that are not set already, as long as the body runs."""
    new = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)
