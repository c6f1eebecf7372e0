"""Networks side by side: every one trained for the same processor time, then judged.

    python benchmarks/architectures.py PAIRS TEST_PAIRS RESULTS.json [--seconds 240]

One thread, one network after the other. What is in RESULTS.json already is not done again,
so the script can be stopped; weights are kept beside it. ``--tables
docs/networks_architectures.inc`` writes the tables of docs/networks.rst.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import numpy as np
import torch
from architecture_judge import judge
from architecture_tables import tables
from architecture_variants import FINE, PUBLISHED, VARIANTS

from photospec.pairs import PairsFile
from photospec.training.data import turn

BATCH, N_DRAWS, _RATE = 16, 4, 1e-3


def read(path, start, stop):
    """Images, noiseless fluxes and redshifts of pairs, as tensors."""
    with PairsFile(path) as pairs:
        index = slice(start, stop)
        return (
            torch.from_numpy(pairs.image(index)),
            torch.from_numpy(pairs.truth_flux(index)),
            np.asarray(pairs.object["redshift"][index], float),
        )


def train(name, image, flux, redshift, seconds):
    """Moving average of a variant's network after `seconds` of processor time.

    Warm-up, plateau and decay as in `photospec.training.trainer`, over time instead of
    steps. The published recipe keeps its own optimiser.
    """
    make, share, _ = VARIANTS[name]
    seconds *= share
    torch.manual_seed(0)
    stage = make()
    stage.autocast = torch.bfloat16
    published = name in PUBLISHED
    if published:
        stage.fit_scaling(image[:4096])
    else:
        stage.encoder.fit_scaling(image[:4096])
        stage.scaling.fit(flux[:4096])
    told_redshift = not published and stage.network.rest is not None
    redshift = torch.from_numpy(redshift).float()
    if getattr(stage, "density", None) is not None:
        stage.density.fit_scaling(redshift)
    n_draws = 1 if published else N_DRAWS // 2 if name in FINE else N_DRAWS
    if published:
        optimiser = torch.optim.Adam(stage.parameters(), lr=1e-4)
    else:
        optimiser = torch.optim.AdamW(
            stage.parameters(), lr=_RATE, betas=(0.9, 0.99), weight_decay=0.01
        )
    ema = copy.deepcopy(stage.state_dict())
    rng = np.random.default_rng(1)
    step, start = 0, time.process_time()
    while (spent := (time.process_time() - start) / seconds) < 1:
        rate = (
            1e-4 + (1e-6 - 1e-4) * spent
            if published
            else _RATE * min(1.0, (spent + 0.002) / 0.05, (1 - spent) / 0.3)
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        rows = np.sort(rng.choice(len(image), BATCH, replace=False))
        batch = turn(image[rows], *rng.integers(2, size=3))
        generator = torch.Generator().manual_seed(step)
        told = {"redshift": redshift[rows]} if told_redshift else {}
        loss = stage.loss(batch, flux[rows], n_draws=n_draws, generator=generator, **told).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.parameters(), 1.0)
        optimiser.step()
        decay = min(0.9999 if published else 0.99, (1 + step) / (10 + step))
        for key, value in stage.state_dict().items():
            if value.is_floating_point():
                ema[key].lerp_(value, 1 - decay)
        step += 1
    stage.load_state_dict(ema)
    return stage.eval().requires_grad_(False), step


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("test_pairs", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--seconds", type=float, default=240, help="processor time per network")
    parser.add_argument("--n-train", type=int, default=24576)
    parser.add_argument("--n-galaxies", type=int, default=192, help="judged by their spectra")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--tables", type=Path, help="write them there, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    missing = [name for name in options.only if name not in results]
    if missing:
        train_pairs = read(options.pairs, 0, options.n_train)
        test_pairs = read(options.test_pairs, 0, 512)
    for name in missing:
        begun = time.time()
        stage, n_steps = train(name, *train_pairs, options.seconds)
        trained = time.time()
        torch.save(stage.state_dict(), options.results.with_name(f"arch-{name}.pt"))
        results[name] = {
            "seconds": options.seconds * VARIANTS[name][1],
            "steps": n_steps,
            "parameters": sum(p.numel() for p in stage.parameters()),
            **judge(name, stage, test_pairs, options),
        }
        options.results.write_text(json.dumps(results, indent=1))
        wall = f"{trained - begun:.0f} s training, {time.time() - trained:.0f} s judging"
        print(name, wall, json.dumps(results[name]), flush=True)
    text = tables(results)
    print(text)
    if options.tables:
        options.tables.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
