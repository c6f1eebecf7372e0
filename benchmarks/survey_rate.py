"""Rate and memory of ``photospec survey`` against a bare loop on the same cores.

    python benchmarks/survey_rate.py --n 20000 --what photoz --workers 2 --folder /tmp/rate

Makes a pairs file of exponential profiles with noise, goes through it with so many plain
processes, each a loop over its share, and with ``photospec survey``; prints galaxies per second
of both, start of the processes included and not, seconds of processor time per galaxy, which
depend less on what else the machine does, and the peak memory of the workers.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import psutil  # noqa: E402


def make(path, n):
    from photospec.pairs import PairsWriter

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 32
    wavelength = np.arange(4000.0, 8500.0, 500)
    colour = np.array([0.2, 0.7, 1, 1.3, 1.6])[:, None, None]
    with PairsWriter(path, "ugriz", 0.396, wavelength, {"made": "survey_rate"}) as writer:
        for start in range(0, n, 500):
            m = min(500, n - start)
            image = rng.normal(0, 0.02, (m, 5, 64, 64)).astype(np.float32)
            for one in image:
                light = np.exp(-np.hypot(x, y) / rng.uniform(2, 5))
                scatter = rng.uniform(0.8, 1.2, (5, 1, 1))
                one += 10 ** rng.uniform(-0.5, 0.8) * colour * scatter * light
            flux = np.ones((m, len(wavelength)), np.float32)
            names = np.array([f"g{i:06d}" for i in range(start, start + m)])
            place = {"ra": rng.uniform(150, 160, m), "dec": rng.uniform(0, 10, m)}
            ebv = {"galactic_ebv": np.full(m, 0.03)}
            writer.append(image, flux, flux, {"identifier": names, **place, **ebv})


def loop(path, first, last, what, n_candidates, ready, go, spent):
    """What one would write without a framework."""
    import torch
    from astropy import units as u
    from astropy.nddata import NDData

    from photospec import PhotoSpectrograph
    from photospec.analysis import combine_candidates, measure_properties
    from photospec.image import NANOMAGGY
    from photospec.pairs import PairsFile

    torch.set_num_threads(1)
    spectrograph = PhotoSpectrograph.load()
    ready.release()
    go.wait()
    before = time.process_time()
    with PairsFile(path) as pairs:
        table = pairs.object
        for start in range(first, last, 64):
            rows = range(start, min(start + 64, last))
            images = []
            for row in rows:
                meta = {"bands": pairs.bands, "pixel_scale": pairs.pixel_scale * u.arcsec}
                meta |= {"identifier": str(table["identifier"][row]), "galactic_ebv": 0.03}
                image = NDData(pairs.image(row), unit=NANOMAGGY, meta=meta)
                images.append(spectrograph.prepare(image))
            density = spectrograph.redshift_density(images)
            _ = density.mean, density.std, density.quantile([0.02, 0.16, 0.5, 0.84, 0.98])
            _ = [density[i].mode for i in range(len(images))]
            spectrograph.ood_score(images)
            if what == "predict":
                spectrograph.predict(images, n_candidates=n_candidates)
            if what == "measure":
                drawn = list(spectrograph.sample_each(images, n_candidates))
                found = measure_properties([one.spectra for one in drawn], n_processes=1)
                combine_candidates(found, [one.best_index for one in drawn])
    spent.put(time.process_time() - before)


def bare(path, n, what, n_candidates, n_workers):
    context = multiprocessing.get_context("spawn")
    ready, go, spent = context.Semaphore(0), context.Event(), context.Queue()
    edges = np.linspace(0, n, n_workers + 1).astype(int)
    start = time.perf_counter()
    processes = [
        context.Process(target=loop, args=(path, a, b, what, n_candidates, ready, go, spent))
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist())
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    begun = time.perf_counter()
    go.set()
    cpu = sum(spent.get() for _ in processes)
    for process in processes:
        process.join()
    end = time.perf_counter()
    print(
        f"bare loop: {n / (end - begun):.2f} per s ({n / (end - start):.2f} with the start), "
        f"{1e3 * cpu / n:.2f} ms of processor time each"
    )
    return n / (end - begun), cpu / n


def survey(path, n, what, n_candidates, n_workers, out, partition_rows):
    command = [sys.executable, "-m", "photospec", "survey", path, "-o", out, "--what", what]
    command += ["--workers", str(n_workers), "--partition-rows", str(partition_rows)]
    if n_candidates:
        command += ["--n-candidates", str(n_candidates)]
    start = time.perf_counter()
    log = Path(f"{out}.log")
    with log.open("w") as stream:
        process = subprocess.Popen(command, stderr=stream)
    peak, cpu, at_start, begun, parent = {}, {}, None, None, psutil.Process(process.pid)
    done = Path(out) / "done"
    last = None
    while process.poll() is None:
        said = log.read_text()
        for child in parent.children(recursive=True):
            try:
                if "spawn_main" in " ".join(child.cmdline()):
                    peak[child.pid] = max(peak.get(child.pid, 0), child.memory_info().rss)
                    used = child.cpu_times()
                    cpu[child.pid] = used.user + used.system
            except psutil.Error:
                continue
        if begun is None and "workers ready" in said:
            begun, at_start = time.perf_counter(), sum(cpu.values())
        count = len(list(done.glob("*_done"))) if done.is_dir() else None
        if count:
            last = time.perf_counter()
        time.sleep(0.2)
    end = time.perf_counter()
    print(log.read_text().strip().splitlines()[-1])
    work = (last or end) - (begun or start)
    each = (sum(cpu.values()) - at_start) / n
    print(
        f"survey: {n / work:.2f} per s from ready workers to the last partition "
        f"({n / (end - start):.2f} all told), {1e3 * each:.2f} ms of the workers' processor time "
        f"each, peak memory per worker {max(peak.values(), default=0) / 1e9:.2f} GB, "
        f"{len(peak)} worker processes"
    )
    return n / work, each


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--what", default="photoz")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--n-candidates", type=int)
    parser.add_argument("--partition-rows", type=int, default=1000)
    parser.add_argument("--folder", type=Path, default=Path("survey_rate"))
    args = parser.parse_args()
    args.folder.mkdir(exist_ok=True)
    path = str(args.folder / f"pairs-{args.n}.h5")
    if not Path(path).exists():
        make(path, args.n)
    out = str(args.folder / f"out-{args.what}-{args.n}-{time.time():.0f}")
    rest = args.what, args.n_candidates, args.workers
    print(f"{args.n} galaxies, {args.what}, {args.workers} processes")
    rate, each = bare(path, args.n, *rest)
    survey_rate, survey_each = survey(path, args.n, *rest, out, args.partition_rows)
    print(
        f"ratio of rates {survey_rate / rate:.3f}, of processor time per galaxy "
        f"{each / survey_each:.3f}"
    )


if __name__ == "__main__":
    main()
