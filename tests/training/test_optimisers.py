"""Learning rates against PyTorch's own schedulers, which step where ours are in closed form."""

import warnings

import pytest
import torch
from torch.optim import lr_scheduler

from photospec.training.optimisers import learning_rate, make_optimiser
from photospec.training.settings import Optimisation, TrainConfig

N = 60


def ours(**settings):
    config = TrainConfig(
        max_steps=N, optimisation=Optimisation(learning_rate=0.5, warmup_steps=0, **settings)
    )
    return [learning_rate(step, config) for step in range(N)]


def theirs(make, n=N):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler, rates = make(optimiser), []
    for _ in range(n):
        rates.append(optimiser.param_groups[0]["lr"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # there are no steps between
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("settings", "make"),
    [
        ({"schedule": "static"}, lambda o: lr_scheduler.ConstantLR(o, 1.0)),
        (
            {"schedule": "linear", "final_learning_rate": 0.05},
            lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, total_iters=N),
        ),
        (
            {"schedule": "polynomial", "power": 3.0},
            lambda o: lr_scheduler.PolynomialLR(o, total_iters=N, power=3.0),
        ),
        (
            {"schedule": "cosine", "final_learning_rate": 0.01},
            lambda o: lr_scheduler.CosineAnnealingLR(o, N, eta_min=0.01),
        ),
        (
            {"schedule": "cosine", "final_learning_rate": 0.01, "n_cycles": 3},
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, N // 3, eta_min=0.01),
        ),
        (
            {"schedule": "exponential", "final_learning_rate": 0.005},
            lambda o: lr_scheduler.ExponentialLR(o, 0.01 ** (1 / N)),
        ),
        (
            {"schedule": "piecewise", "milestones": (0.25, 0.75), "step_factor": 0.2},
            lambda o: lr_scheduler.MultiStepLR(o, [N // 4, 3 * N // 4], gamma=0.2),
        ),
    ],
    ids=["static", "linear", "polynomial", "cosine", "restarts", "exponential", "piecewise"],
)
def test_schedules_are_those_of_pytorch(settings, make):
    assert ours(**settings) == pytest.approx(theirs(make))


def test_warm_up_precedes_the_schedule():
    config = TrainConfig(
        max_steps=30,
        optimisation=Optimisation(schedule="linear", learning_rate=1.0, warmup_steps=10),
    )
    rates = [learning_rate(step, config) for step in range(31)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10:] == pytest.approx([1 - step / 20 for step in range(21)])


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_optimisers(name, kind):
    config = TrainConfig(optimisation=Optimisation(optimiser=name, weight_decay=0.125))
    parameter = torch.nn.Parameter(torch.ones(3))
    optimiser = make_optimiser([parameter], config)
    assert type(optimiser) is kind
    assert optimiser.defaults["weight_decay"] == 0.125
    # Without a gradient only a decoupled decay moves the weights by learning rate times decay.
    parameter.grad = torch.zeros(3)
    optimiser.step()
    decoupled = 1 - 7e-4 * 0.125
    assert (parameter[0].item() == pytest.approx(decoupled, abs=1e-7)) == (name == "adamw")
