from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from restem.separation.losses import (
    LOSSES,
    kept_by_quantile,
    l1,
    log_wmse,
    mixture_sdr,
    set_loss,
    set_sdr,
    stft,
    truncation_at,
)

CLASSES = 4


def groups_of(*examples: list[list[int]]) -> torch.Tensor:
    """(example, slot, class) from the classes of each group of each example."""
    groups = torch.zeros(len(examples), CLASSES, CLASSES)
    for row, example in enumerate(examples):
        for slot, classes in enumerate(example):
            groups[row, slot, classes] = 1.0
    return groups


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


GROUPS = groups_of([[0, 2], [1], [3]], [[0], [1], [2], [3]], [[0, 1, 3], [2]])


def test_the_gradient_in_closed_form() -> None:
    """For L1: the sign of the group's error over the count of what is averaged, the same for each class of a group."""
    outputs, targets = random(3, 4, 2, 50).requires_grad_(), random(3, 4, 2, 50, seed=1)
    set_loss(outputs, GROUPS, targets).backward()
    expected = torch.zeros_like(outputs)
    for example in range(3):
        for slot in range(4):
            classes = GROUPS[example, slot].nonzero().flatten()
            error = outputs[example, classes].sum(0) - targets[example, slot]
            expected[example, classes] = torch.sign(error).detach() / (9 * 2 * 50)
    assert torch.allclose(outputs.grad, expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_by_differences(loss: str) -> None:
    outputs, targets = random(1, 4, 1, 300).requires_grad_(), random(1, 4, 1, 300, seed=1)
    # The STFT is taken in single precision, hence the coarse steps.
    tolerance = {"eps": 1e-6, "atol": 1e-8} if loss == "l1" else {"eps": 1e-2, "atol": 2e-4}
    torch.autograd.gradcheck(
        lambda x: set_loss(x, GROUPS[:1], targets, loss).double(), (outputs,), fast_mode=True, **tolerance
    )


def test_single_labels_are_the_plain_loss() -> None:
    outputs, targets = random(2, 4, 2, 100), random(2, 4, 2, 100, seed=1)
    groups = torch.eye(4).expand(2, 4, 4)
    assert torch.isclose(set_loss(outputs, groups, targets), (outputs - targets).abs().mean())


@settings(max_examples=25)
@given(st.permutations(range(4)), st.permutations(range(4)), st.sampled_from(list(LOSSES)))
def test_order_does_not_matter(slots: list[int], classes: list[int], loss: str) -> None:
    outputs, targets = random(3, 4, 1, 300), random(3, 4, 1, 300, seed=1)
    other = set_loss(outputs[:, classes], GROUPS[:, slots][:, :, classes], targets[:, slots], loss, 0.5)
    assert torch.isclose(set_loss(outputs, GROUPS, targets, loss, 0.5), other)


@pytest.mark.parametrize("loss", LOSSES)
class TestEveryLoss:
    def test_perfect_and_silent(self, loss: str) -> None:
        targets = random(1, 4, 2, 600).float()
        targets[:, 3] = 0.0
        outputs = targets.clone().requires_grad_()
        value = set_loss(outputs, torch.eye(4)[None], targets, loss)
        value.backward()
        assert value == 0 and torch.isfinite(outputs.grad).all()

    def test_how_a_sum_divides_is_free(self, loss: str) -> None:
        """Moving sound from one class of a group to another costs nothing; out of the group it does."""
        outputs, targets, moved = random(1, 4, 1, 600), random(1, 4, 1, 600, seed=1), random(1, 600, seed=2)
        groups = groups_of([[0, 2], [1], [3]])
        before = set_loss(outputs, groups, targets, loss)
        outputs[0, 0] += moved
        assert not torch.isclose(set_loss(outputs, groups, targets, loss), before)
        outputs[0, 2] -= moved
        assert torch.isclose(set_loss(outputs, groups, targets, loss), before)

    def test_unused_slots_count_for_nothing(self, loss: str) -> None:
        outputs, targets = random(1, 4, 1, 600), random(1, 4, 1, 600, seed=1)
        groups = groups_of([[0, 1, 2, 3]])
        value = set_loss(outputs, groups, targets, loss)
        targets[:, 1:] = 7.0
        assert torch.isclose(set_loss(outputs, groups, targets, loss), value)

    def test_in_half_precision(self, loss: str) -> None:
        outputs = random(1, 4, 1, 600).float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            value = set_loss(outputs, torch.eye(4)[None], torch.zeros(1, 4, 1, 600), loss)
        exact = set_loss(outputs, torch.eye(4)[None], torch.zeros(1, 4, 1, 600), loss)
        assert value.item() == pytest.approx(exact.item(), rel=0.01)


def test_the_stft_loss_is_on_the_scale_of_the_waveform() -> None:
    """Of white noise with amplitude 1: E|e| is sqrt(2/pi) in time, sqrt(pi)/2 for complex numbers."""
    noise = random(4, 1, 100_000).float()
    assert l1(noise).mean().item() == pytest.approx(np.sqrt(2 / np.pi), rel=0.01)
    assert stft(noise).mean().item() == pytest.approx(np.sqrt(np.pi) / 2, rel=0.02)
    assert stft(noise).shape == (4,)


class TestTruncation:
    def test_as_numpy_does_it(self) -> None:
        losses = random(8, 4).abs()
        kept = kept_by_quantile(losses, torch.eye(4).expand(8, 4, 4), 0.7).numpy()
        expected = losses.numpy().astype(np.float32) <= np.quantile(losses.numpy().astype(np.float32), 0.7, axis=0)
        assert (kept == expected).all()

    def test_a_group_counts_by_its_classes(self) -> None:
        """Two classes: the group of both is the worst of one and the best of the other."""
        groups = torch.zeros(3, 2, 2)
        groups[0, 0], groups[1:] = 1.0, torch.eye(2)
        losses = torch.tensor([[5.0, 0.0], [1.0, 9.0], [2.0, 8.0]])
        assert kept_by_quantile(losses, groups, 0.5).tolist() == [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0]]

    def test_wrong_labels_teach_less(self) -> None:
        """The example with a wrong label loses its gradient."""
        targets = random(5, 4, 1, 100) * 0.01
        outputs = torch.zeros(5, 4, 1, 100, dtype=torch.float64, requires_grad=True)
        targets[2, 1] += 5.0
        set_loss(outputs, torch.eye(4).expand(5, 4, 4), targets, "l1", 0.7).backward()
        assert (outputs.grad[2, 1] == 0).all() and (outputs.grad != 0).any()

    def test_schedule(self) -> None:
        assert truncation_at((), 0.5) is None
        assert [truncation_at((0.7, 0.5, 0.3), share) for share in (0.0, 0.3, 0.34, 0.6, 0.7, 1.0)] == [
            0.7, 0.7, 0.5, 0.5, 0.3, 0.3,
        ]  # fmt: skip


def test_sdr() -> None:
    targets = random(2, 4, 2, 1000)
    targets[:, 3] = 0.0  # does not sound
    outputs = targets + 0.1 * random(2, 4, 2, 1000, seed=1)
    assert set_sdr(outputs, torch.eye(4).expand(2, 4, 4), targets).item() == pytest.approx(20.0, abs=0.3)


def test_the_sdr_of_the_mixture_is_that_of_the_mixture_as_every_estimate() -> None:
    torch.manual_seed(0)
    targets = torch.randn(2, 4, 2, 1000) * torch.tensor([1.0, 0.5, 0.1, 0.0]).reshape(4, 1, 1)
    mixture = targets.sum(dim=1, keepdim=True).expand_as(targets)
    expected = set_sdr(mixture, torch.eye(4).expand(2, 4, 4), targets).item()
    assert mixture_sdr(targets).item() == pytest.approx(expected, abs=1e-4)
    # A stem that is alone is its mixture, which says nothing about separation.
    alone = torch.cat([targets, targets * torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(4, 1, 1)])
    assert mixture_sdr(alone).item() == pytest.approx(expected, abs=1e-4)
    assert mixture_sdr(alone[2:]).isnan() and set_sdr(mixture, torch.eye(4).expand(2, 4, 4), alone[2:]).isnan()


class TestLogWmse:
    def test_the_weighting_is_that_of_the_standard(self) -> None:
        """IEC 61672-1, table 3: relative to 1 kHz, in dB."""
        time_s = torch.arange(48000, dtype=torch.float64) / 48000
        tones = torch.stack([torch.sin(2 * torch.pi * f * time_s) for f in (1000, 100, 500, 4000, 10000)])[:, None]
        levels = log_wmse(0.1 * tones, tones[:1].expand_as(tones), 48000) * 10 / np.log(10) + 20.0
        assert levels.tolist() == pytest.approx([0.0, -19.1, -3.2, 1.0, -2.5], abs=0.06)

    @pytest.mark.parametrize("share", [1.0, 0.1, 0.0])
    def test_in_closed_form(self, share: float) -> None:
        mixture = random(2, 1, 2, 4000)
        assert torch.allclose(
            log_wmse(share * mixture, mixture, 8000), torch.tensor(share**2 + 1e-6).log().expand(2, 1), atol=1e-5
        )

    def test_silent_targets_and_mixtures_have_a_gradient(self) -> None:
        targets = random(1, 4, 1, 400)
        for silent in (targets * 0, torch.cat([targets[:, :1] * 0, targets[:, 1:]], dim=1)):
            outputs = (0.1 * random(1, 4, 1, 400, seed=1)).requires_grad_()
            set_loss(outputs, torch.eye(4)[None], silent, "log-wmse", rate_hz=8000).backward()
            assert outputs.grad is not None and outputs.grad.isfinite().all() and outputs.grad.abs().max() > 0

    def test_the_gradient_by_differences(self) -> None:
        outputs, targets = random(1, 4, 1, 300).requires_grad_(), random(1, 4, 1, 300, seed=1)
        torch.autograd.gradcheck(
            lambda x: set_loss(x, GROUPS[:1], targets, "log-wmse", rate_hz=8000).double(), (outputs,), fast_mode=True,
            eps=1e-2, atol=1e-3,
        )  # fmt: skip
