from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.losses import distillation_loss, kd_loss, soften

_logits = arrays(np.float32, (4, 5), elements=st.floats(-6, 6, width=32))
_temperatures = st.sampled_from([0.5, 1.0, 2.0, 4.0])


@given(_logits, _temperatures)
def test_a_student_that_is_the_teacher_has_no_loss(logits, temperature):
    z = torch.from_numpy(logits)
    loss = kd_loss(z, torch.softmax(z, dim=-1), temperature)
    assert loss.shape == (4,)
    assert loss.abs().max() < 1e-4  # farther apart, the floor would begin to cost a little


@given(_logits, _logits, _temperatures)
def test_the_divergence_is_never_negative(student, teacher, temperature):
    loss = kd_loss(torch.from_numpy(student), torch.softmax(torch.from_numpy(teacher), dim=-1), temperature)
    assert torch.isfinite(loss).all()
    assert loss.min() > -1e-5


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_it_is_the_textbook_formula(temperature):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 6)), rng.normal(size=(2, 6))

    def softmax(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    p, q = softmax(teacher / temperature), softmax(student / temperature)
    expected = temperature**2 * (p * np.log(p / q)).sum(axis=1)
    got = kd_loss(torch.from_numpy(student), torch.from_numpy(softmax(teacher)), temperature)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4)


def test_for_high_temperatures_the_gradient_tends_to_the_difference_of_centred_logits():
    """Equation 4 of arXiv 1503.02531: T² keeps its size."""
    rng = np.random.default_rng(1)
    teacher = torch.from_numpy(rng.normal(size=(1, 4)))
    student = torch.from_numpy(rng.normal(size=(1, 4))).requires_grad_()
    kd_loss(student, torch.softmax(teacher, dim=-1), 200.0).sum().backward()
    limit = ((student - student.mean()) - (teacher - teacher.mean())).detach() / 4
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), limit.numpy(), rtol=0.02, atol=1e-3)


def test_a_probability_of_zero_is_finite():
    loss = kd_loss(torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]]), 2.0)
    assert math.isfinite(loss.item())


def test_half_precision_is_lifted_before_the_logarithm():
    z = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    assert kd_loss(z, torch.softmax(z.float(), dim=-1), 1.0).max() < 1e-5


def test_soften_flattens():
    sharp = torch.tensor([[0.98, 0.01, 0.01]])
    assert soften(sharp, 4.0).max() < soften(sharp, 2.0).max() < 0.98


def test_alpha_mixes_in_the_hard_label_and_weights_weigh():
    z = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    p, hard = torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([0, 0])
    soft = kd_loss(z, p, 2.0)
    cross_entropy = -torch.log_softmax(z, dim=-1)[:, 0]
    mixed = distillation_loss(z, p, hard, temperature=2.0, alpha=0.25)
    assert mixed.item() == pytest.approx((0.25 * soft + 0.75 * cross_entropy).mean().item(), rel=1e-5)
    weighted = distillation_loss(z, p, hard, temperature=2.0, alpha=1.0, weights=torch.tensor([3.0, 1.0]))
    assert weighted.item() == pytest.approx(((3 * soft[0] + soft[1]) / 4).item(), rel=1e-5)
