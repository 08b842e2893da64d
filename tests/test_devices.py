from __future__ import annotations

import pytest
import torch

from restem.devices import choose_device, precision
from restem.errors import UsageError
from restem.memory import keep_freed_memory


def test_devices() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") in ("cpu", "cuda", "mps")
    with pytest.raises(UsageError, match="`device='auto'`"):
        choose_device("abacus")


def test_precision_is_one_lightning_knows() -> None:
    assert precision("cpu") in ("bf16-mixed", "32-true")
    assert precision("mps") == "32-true"


def test_memory_is_kept() -> None:
    """Tensors come and go as before, large ones too."""
    keep_freed_memory()
    for _ in range(3):
        assert torch.ones(4_000_000).sum() == 4_000_000
