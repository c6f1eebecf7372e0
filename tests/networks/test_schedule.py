import math

import pytest
import torch

from photospec.networks.schedule import CosineSchedule, EDMSchedule, LinearSchedule

SCHEDULES = [CosineSchedule(), LinearSchedule(), EDMSchedule()]
ids = [type(schedule).__name__ for schedule in SCHEDULES]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=ids)
def test_log_snr_falls_and_inverts(schedule):
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    log_snr = schedule.log_snr(t)
    assert torch.isfinite(log_snr).all()
    assert (log_snr.diff() <= 0).all()
    inside = (log_snr > schedule.log_snr_min) & (log_snr < schedule.log_snr_max)
    assert inside.sum() > 500
    torch.testing.assert_close(schedule.time(log_snr[inside]), t[inside], atol=1e-8, rtol=0)
    torch.testing.assert_close(
        (schedule.alpha(t) / schedule.sigma(t)).log() * 2, log_snr, atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("schedule", SCHEDULES[:2], ids=ids[:2])
def test_variance_is_preserved(schedule):
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    power = schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2
    torch.testing.assert_close(power, torch.ones_like(power), atol=1e-12, rtol=0)


def test_cosine_is_the_published_function():
    t = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)

    def f(t):
        return torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    expected = f(t) / f(torch.zeros(()))
    torch.testing.assert_close(CosineSchedule().alpha(t) ** 2, expected, atol=1e-7, rtol=0)


def test_linear_is_exact_at_the_discrete_times():
    schedule = LinearSchedule(n_times=250, log_snr_min=-40)
    product, t = 1.0, []
    for k in range(250):
        product *= 1 - (1e-2 + (0.2 - 1e-2) * k / 249)
        t.append(math.log(product / (1 - product)))
    times = torch.arange(1, 251).double() / 250
    torch.testing.assert_close(schedule.log_snr(times), torch.tensor(t).double())


def test_edm_sigmas_of_the_paper():
    # Karras et al. 2022, eq. 5 for 18 steps
    times = EDMSchedule().times(18)
    i = torch.arange(18).double()
    expected = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    torch.testing.assert_close(EDMSchedule().sigma(times), expected)
    for schedule in SCHEDULES[:1] + SCHEDULES[2:]:
        times = schedule.karras_times(18, 0.002, 80, 7)
        torch.testing.assert_close(schedule.sigma(times) / schedule.alpha(times), expected)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=ids)
@pytest.mark.parametrize("n_steps", [2, 10, 250])
def test_times_fall_within_the_cut(schedule, n_steps):
    times = schedule.times(n_steps)
    assert times.shape == (n_steps,)
    assert (times.diff() < 0).all()
    assert (schedule.log_snr(times).diff() > 0).all()
    assert schedule.log_snr(times[0]) == pytest.approx(schedule.log_snr_min)


def test_noise_level_is_c_noise():
    schedule = EDMSchedule()
    t = torch.tensor([0.1, 0.7])
    torch.testing.assert_close(schedule.noise_level(t), schedule.sigma(t).log() / 4)


def test_training_times():
    generator = torch.Generator().manual_seed(1)
    t = CosineSchedule().draw_times(1000, generator)
    assert t.min() >= 0
    assert t.max() < 1
    assert torch.histc(t.float(), 10, 0, 1).sub(100).abs().max() <= 1
    log_sigma = EDMSchedule().sigma(EDMSchedule().draw_times(20000, generator)).log()
    assert log_sigma.mean() == pytest.approx(-1.2, abs=0.03)
    assert log_sigma.std() == pytest.approx(1.2, abs=0.03)
