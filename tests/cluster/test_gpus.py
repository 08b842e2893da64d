"""GPUs are given to tasks by Ray; these are not there, and nothing is computed on them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from restem.errors import UsageError
from restem.executing.choosing import executor_for

PROGRAM = (
    "__import__('time').sleep(1.0) or (__import__('os').environ['CUDA_VISIBLE_DEVICES'], __import__('time').time())"
)


def test_each_task_has_one_of_its_own(nodes) -> None:
    found = [result for _, result in executor_for(None, nodes.address).map_unordered(eval, [PROGRAM] * 5, gpus=1)]
    assert {device for device, _ in found} == {"0", "1"}
    for device in ("0", "1"):
        ended = sorted(end for name, end in found if name == device)
        assert all(later - earlier >= 1.0 for earlier, later in pairwise(ended))


def test_networks_run_where_a_machine_has_one(nodes) -> None:
    executor = executor_for(None, nodes.address)
    assert [executor.choose_device(name) for name in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]
    with pytest.raises(UsageError, match="no device 'mps'"):
        executor.choose_device("mps")
    nodes.remove()
    while executor.choose_device("auto") == "cuda":
        pass
    with pytest.raises(UsageError, match="no device 'cuda'"):
        executor.choose_device("cuda")
