"""Schedules against the values that the paper's description fixes; the published trajectory is in test_parity."""

import math

import pytest

from openjepa.training import schedules


def test_learning_rate_rises_falls_and_ends():
    values = [schedules.learning_rate(step, 100, 10, 0.0, 1.0, 0.01) for step in range(100)]
    assert values[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert values[9:] == sorted(values[9:], reverse=True)
    assert values[-1] == pytest.approx(0.01)
    assert values[54] == pytest.approx((1 + 0.01) / 2, rel=1e-6)


def test_no_warmup_and_one_step():
    assert schedules.learning_rate(0, 1, 0, 0.0, 1.0, 0.5) == pytest.approx(0.5)


def test_weight_decay_and_momentum_run_from_start_to_end():
    assert schedules.weight_decay(99, 100, 0.04, 0.4) == pytest.approx(0.4)
    assert schedules.weight_decay(49, 100, 0.04, 0.4) == pytest.approx(0.22)
    assert schedules.ema_momentum(0, 100, 0.9, 1.0) == 0.9
    assert schedules.ema_momentum(50, 100, 0.9, 1.0) == pytest.approx(0.95)


def test_the_target_encoder_of_a_longer_run_is_slower_within_bounds():
    assert schedules.ema_range(1) == schedules.ema_range(5170) == (0.99, 1.0)
    assert schedules.ema_half_life(schedules.ema_range(7500)[0]) == pytest.approx(100)
    assert schedules.ema_range(10**6) == (0.998, 1.0)


def test_half_life_halves():
    assert 0.99 ** schedules.ema_half_life(0.99) == pytest.approx(0.5)
    assert math.isinf(schedules.ema_half_life(1.0))
    assert schedules.ema_half_life(0.0) == 0
