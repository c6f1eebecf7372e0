"""Can the super-resolution stage be distilled into a single step? See docs/networks.rst.

    python benchmarks/distil_step.py PAIRS WORK_FOLDER [--seconds 600]

A copy of its network learns to go from the noisiest level to where three fitted steps of the
network as it is end from the same noise, on true base spectra of simulated pairs with the noise
that it is told; WORK_FOLDER/network.pt goes on after a stop. Beside the one step of the copy stand
the ways of the network as it is, for base spectra that many steps drew for the last 64 pairs, which
are not trained on: errors are those of where 40 steps end, along the 50 directions in which the two
candidates of a galaxy differ most, in units of that, and in all others together.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import numpy as np
import torch

from photospec import PhotoSpectrograph
from photospec.networks.samplers import DPMSolverPP2M, FittedSteps
from photospec.networks.scaling import N_BASE, N_FINE
from photospec.pairs import PairsFile
from photospec.training.steps import N_COMPONENTS

#: Noise that the one step begins at, and the steps of the teacher: fitted with three of them.
NOISE = 60.0
TEACHER = FittedSteps((115.7, 1.068, 0.1721), (0.0, 0.4377, 0.4886))
TWO = FittedSteps((82.88, 0.5436), (0.0, 0.4443))
_BATCH, _N_TEST, _RATE, _REST, _DECAY = 16, 64, 2e-4, 0.2, 0.995


class Errors:
    """Of few steps against many, for two candidates of each galaxy, one after the other."""

    def __init__(self, target):
        differences = (target[0::2] - target[1::2]) / 2**0.5
        axes = torch.linalg.svd(differences, full_matrices=False)
        self.axes = axes.Vh[:N_COMPONENTS].T
        self.scale = axes.S[: self.axes.shape[1]] / len(differences) ** 0.5
        self.rest = self.others(differences).square().mean()

    def others(self, x):
        return x - x @ self.axes @ self.axes.T

    def __call__(self, error):
        along = (error @ self.axes / self.scale).square().mean()
        return along, self.others(error).square().mean() / self.rest


def one_step(stage, noise, condition):
    """Clean spectra by one evaluation at `NOISE`."""
    denoiser = stage.denoiser
    time = denoiser.schedule.time(torch.tensor(-2 * np.log(NOISE), dtype=torch.float64))
    return denoiser(noise * NOISE, time, condition)


@torch.no_grad()
def held_out(cascade, pairs, generator):
    """Noise, conditions and the ends of many steps, of the last pairs in batches."""
    base, fine = cascade.base, cascade.super_resolution
    for start in range(len(pairs) - _N_TEST, len(pairs), _BATCH // 2):
        image = torch.from_numpy(pairs.image(slice(start, start + _BATCH // 2)))
        context = base.encode(image)
        uniform = torch.rand(len(image), 2, generator=generator).double()
        redshift = base.draw_redshift(image, context, uniform)
        low = torch.randn(_BATCH, N_BASE, generator=generator)
        low, _ = base.sample(context, low, redshift=redshift, sampler="dpm-solver++", n_steps=48)
        extra, noise = (torch.randn(_BATCH, n, generator=generator) for n in (N_BASE, N_FINE))
        _, condition = fine.seen(fine.encode(image), low, extra, redshift=redshift)
        times = fine.denoiser.schedule.karras_times(40, 0.02, 160.0, 20.0)
        many = DPMSolverPP2M(fine.denoiser, times=times).sample(noise, condition)
        yield noise, condition, many


@torch.no_grad()
def report(ways, tests):
    """Print errors and spreads of each way."""
    target = torch.cat([many for *_, many in tests])
    errors, apart = Errors(target), (target[0::2] - target[1::2]).square().mean().sqrt()
    for name, way in ways.items():
        found = torch.cat([way(noise, condition) for noise, condition, _ in tests])
        along, rest = (100 * value.item() for value in errors(found - target))
        spread = 100 * ((found[0::2] - found[1::2]).square().mean().sqrt() / apart - 1)
        line = {"way": name, "along": f"{along:.2f} %", "rest": f"{rest:.1f} %"}
        print(json.dumps(line | {"spread": f"{spread:+.2f} %"}), flush=True)
    return errors


def distil(fine, pairs, errors, folder, seconds, generator):
    """Return the copy whose one step was trained, its moving average."""
    student = copy.deepcopy(fine)
    parameters = [p.requires_grad_() for p in student.network.parameters()]
    optimiser = torch.optim.Adam(parameters, _RATE, betas=(0.9, 0.99))
    average, spent, path = copy.deepcopy(student), 0.0, folder / "network.pt"
    if path.exists():
        kept = torch.load(path, weights_only=True)
        spent = kept["seconds"]
        for module, name in ((student, "student"), (average, "average"), (optimiser, "optimiser")):
            module.load_state_dict(kept[name])
    rng, last, step = np.random.default_rng(int(spent)), time.process_time(), 0
    while spent < seconds:
        start = int(rng.integers(len(pairs) - _N_TEST - _BATCH))
        rows = slice(start, start + _BATCH)
        with torch.no_grad():
            flux = torch.from_numpy(np.asarray(pairs.truth_flux(rows), np.float32))
            redshift = torch.from_numpy(np.asarray(pairs.object["redshift"][rows], float))
            context = fine.encode(torch.from_numpy(pairs.image(rows)))
            extra, noise = (torch.randn(_BATCH, n, generator=generator) for n in (N_BASE, N_FINE))
            seen = fine.scaling.base(flux), extra
            _, condition = fine.seen(context, *seen, redshift=redshift)
            target = TEACHER.sampler(fine.denoiser, 3).sample(noise, condition)
        _, condition = student.seen(context, *seen, redshift=redshift)
        along, rest = errors(one_step(student, noise, condition) - target)
        optimiser.param_groups[0]["lr"] = _RATE * min(1.0, (step + 1) / 50) * (1 - spent / seconds)
        optimiser.zero_grad()
        (along + _REST * rest).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        with torch.no_grad():
            keep = min(_DECAY, (step + 1) / (step + 20))
            for mean, now in zip(average.parameters(), student.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
        step, now = step + 1, time.process_time()
        spent, last = spent + now - last, now
        if step % 50 == 0 or spent >= seconds:
            named = {"student": student, "average": average, "optimiser": optimiser}
            states = {name: module.state_dict() for name, module in named.items()}
            torch.save(states | {"seconds": spent}, path)
            print(json.dumps({"step": step, "s": round(spent), "along": along.item()}), flush=True)
    return average


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=600, help="of the processor")
    parser.add_argument("--weights", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    cascade = PhotoSpectrograph.load(options.weights, dtype="float32").cascade
    fine = cascade.super_resolution
    with PairsFile(options.pairs) as pairs:
        tests = list(held_out(cascade, pairs, generator))

        def plain(noise, condition):
            times = fine.denoiser.schedule.karras_times(3, 0.05, 160.0, 20.0)
            return DPMSolverPP2M(fine.denoiser, times=times).sample(noise, condition)

        ways = {
            "3 steps": plain,
            "3 fitted": lambda *known: TEACHER.sampler(fine.denoiser, 3).sample(*known),
            "2 fitted": lambda *known: TWO.sampler(fine.denoiser, 2).sample(*known),
            "1 step": lambda *known: one_step(fine, *known),
        }
        errors = report(ways, tests)
        student = distil(fine, pairs, errors, options.folder, options.seconds, generator)
        report({"1 step distilled": lambda *known: one_step(student, *known)}, tests)


if __name__ == "__main__":
    main()
