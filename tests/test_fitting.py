from __future__ import annotations

from pathlib import Path

import pytest
import torch

from restem.fitting import Loop, _loader, average_over


def loop(batch: int, devices: int, nodes: int = 1) -> Loop:
    return Loop(Path(), 10, 5, batch, average_over(2), devices=devices, nodes=nodes)


@pytest.mark.parametrize(("devices", "nodes"), [(1, 1), (2, 1), (3, 2)])
def test_processes_share_each_batch(devices: int, nodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, a step sees the same examples, each once."""
    processes, batch = devices * nodes, 12
    asked = loop(batch, devices, nodes)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: processes > 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: processes)
    steps: list[list[int]] = [[] for _ in range(4)]
    for rank in range(processes):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        drawn = _loader(asked, lambda _, first: (torch.arange(first, first + asked.share),), 4)
        for step, (examples,) in enumerate(drawn):
            steps[step] += examples.tolist()
    assert [sorted(step) for step in steps] == [list(range(batch * n, batch * (n + 1))) for n in range(4)]
