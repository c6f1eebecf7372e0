"""``photospec survey`` at scale: its rate against a bare loop, memory, and what kills do to it.

    python benchmarks/survey_scale.py FOLDER                    # all of it, 20,000 galaxies
    python benchmarks/survey_scale.py FOLDER --photoz 4000 --predict 200 --measure 50
    python benchmarks/survey_scale.py FOLDER --only photoz-survey kills

Makes a HATS catalogue of exponential profiles with noise, of which one in a hundred has no image,
pixels that are not numbers, or too few pixels. Then, step by step:

- ``photoz``, ``predict``, ``measure``: a bare loop in two processes, ``photospec survey`` with two
  workers, and the bare loop again (``photoz-before``, ``-survey``, ``-after``). The bare loop
  reads the same files, prepares the same images, asks the same of the networks, and writes
  nothing. Rates are from ready processes (modules imported, networks read) to the last galaxy
  that is written; ``seconds`` from the start of the command to its end. Processor time is that
  of the two processes or workers in that time. Core time is all that the cores had for the run in
  that time: what it used (with Dask's scheduler and the client) or left idle, but not what other
  processes used. On a machine that does nothing else it is the number of cores by the rate; on
  another, where rates change with what else it does, it leaves out what a run waited for while
  others worked.
- ``small``: ``photoz`` of 2,000, for the peak of the workers' memory.
- ``kills``: ``photoz`` on a scheduler and two workers that are started by hand. At random moments
  SIGKILL goes to a worker (five times), to the scheduler and to the client (once); what has died
  is started again. The catalogue must be that of ``photoz``, bit for bit, and its flagged rows
  those that were made bad.

What is done is in FOLDER/results.json: the same command goes on from there, and prints the table
of the documentation when it ends.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import psutil  # noqa: E402

WORKERS = 2
PARTITION_ROWS, PIECE_ROWS = 4000, 512  # at most; of small catalogues a fifth and about a twentieth
SHAPE = (5, 64, 64)
PORT = 18786
# The time of guests is in that of users already.
_IDLE = ("idle", "iowait", "guest", "guest_nice")
KINDS = ["worker"] * 5 + ["scheduler", "client"]


def is_bad(number):
    """Why the image of a galaxy is bad: one in a hundred is; None for a good one."""
    return {17: "missing", 117: "short", 217: "nan"}.get(number % 300)


def pixels(numbers):
    """Images (n, 5, 64, 64): exponential profiles with noise, each of its number."""
    y, x = np.mgrid[:64, :64] - 32
    colour = np.array([0.2, 0.7, 1, 1.3, 1.6])[:, None, None]
    for number in numbers:
        rng = np.random.default_rng([7, int(number)])
        light = np.exp(-np.hypot(x, y) / rng.uniform(2, 5))
        scatter = rng.uniform(0.8, 1.2, (5, 1, 1))
        image = rng.normal(0, 0.02, SHAPE)
        image += 10 ** rng.uniform(-0.5, 0.8) * colour * scatter * light
        yield image.astype(np.float32)


def make(path, n):
    """A HATS catalogue; its images are added file by file."""
    import lsdb
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    light = pd.DataFrame({"objid": [f"g{i:06d}" for i in range(n)]})
    light["ra"], light["dec"] = rng.uniform(150, 160, n), rng.uniform(0, 10, n)
    light["galactic_ebv"] = 0.03
    partition_rows = min(PARTITION_ROWS, n // 5 + 1)
    catalog = lsdb.from_dataframe(light, partition_rows=partition_rows, margin_threshold=None)
    lsdb.io.to_hats(catalog, base_catalog_path=path, catalog_name="cutouts", progress_bar=False)
    field = pa.field(
        "pixels",
        pa.list_(pa.float32()),
        metadata={"bands": "ugriz", "unit": "nanomaggy", "pixel_scale": "0.396"},
    )
    for file in sorted(path.rglob("Npix=*.parquet")):
        table = pq.read_table(file, partitioning=None)
        schema = table.schema.append(field)
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for start in range(0, len(table), PIECE_ROWS):
                part = table.slice(start, PIECE_ROWS)
                numbers = [int(name[1:]) for name in part["objid"].to_pylist()]
                images = []
                for number, image in zip(numbers, pixels(numbers)):
                    why = is_bad(number)
                    image = np.full_like(image, np.nan) if why == "nan" else image
                    image = image.ravel()[:-1] if why == "short" else image.ravel()
                    images.append(None if why == "missing" else image)
                column = pa.array(images, field.type)
                writer.write_table(part.append_column(field, column))
    (path / "dataset/_metadata").unlink(missing_ok=True)
    pq.write_metadata(schema, path / "dataset/_common_metadata")


def piece_rows(path):
    return min(PIECE_ROWS, 64 * (sum(map(n_rows, partitions(path))) // 1280 + 1))


def partitions(path):
    return sorted(path.rglob("Npix=*.parquet"))


def busy():
    """Seconds that all cores were busy since the machine started."""
    found = psutil.cpu_times()
    return sum(getattr(found, name) for name in found._fields if name not in _IDLE)


def core_ms(seconds, others, n):
    """Core time per image: of all cores in some seconds, without that of other processes."""
    return 1e3 * (len(os.sched_getaffinity(0)) * seconds - others) / n


def loop(files, what, n_candidates, at_most, ready, go, spent):
    """What one would write without a framework, for about so many images."""
    import pyarrow.parquet as pq
    import torch
    from astropy import units as u
    from astropy.nddata import NDData

    from photospec import PhotoSpectrograph
    from photospec.analysis import combine_candidates, measure_properties
    from photospec.errors import InputError
    from photospec.image import NANOMAGGY

    torch.set_num_threads(1)
    spectrograph = PhotoSpectrograph.load()
    ready.release()
    go.wait()
    before, n = time.process_time(), 0
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(64, columns=["objid", "pixels"]):
            if n >= at_most:
                break
            images = []
            for name, values in zip(batch["objid"].to_pylist(), batch["pixels"], strict=True):
                n += 1
                meta = {"bands": "ugriz", "pixel_scale": 0.396 * u.arcsec, "identifier": name}
                meta["galactic_ebv"] = 0.03
                try:
                    data = values.values.to_numpy().reshape(SHAPE)
                    image = NDData(data, unit=NANOMAGGY, meta=meta)
                    images.append(spectrograph.prepare(image))
                except (InputError, ValueError, AttributeError):
                    continue
            density = spectrograph.redshift_density(images)
            _ = density.mean, density.std, density.mode
            _ = density.quantile([0.02, 0.16, 0.5, 0.84, 0.98])
            if what == "predict":
                spectrograph.predict(images, n_candidates=n_candidates)
            if what == "measure":
                drawn = list(spectrograph.sample_each(images, n_candidates))
                found = measure_properties([one.spectra for one in drawn], n_processes=1)
                combine_candidates(found, [one.best_index for one in drawn])
    spent.put((time.process_time() - before, n))


def bare(path, what, n_candidates, at_most):
    """Rate and processor seconds per galaxy of plain processes, each with its share of files."""
    context, started = multiprocessing.get_context("spawn"), time.time()
    ready, go, spent = context.Semaphore(0), context.Event(), context.Queue()
    shares = [[] for _ in range(WORKERS)]
    size = [0] * WORKERS
    for file in sorted(partitions(path), key=lambda f: -f.stat().st_size):
        least = int(np.argmin(size))
        shares[least].append(file)
        size[least] += file.stat().st_size
    processes = [
        context.Process(
            target=loop,
            args=(share, what, n_candidates, at_most / WORKERS, ready, go, spent),
        )
        for share in shares
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    begun, busy_before = time.time(), busy()
    go.set()
    found = [spent.get() for _ in processes]
    seconds, busy_then = time.time() - begun, busy() - busy_before
    for process in processes:
        process.join()
    cpu, n = (sum(values) for values in zip(*found))
    return {
        "rate": n / seconds,
        "cpu_ms": 1e3 * cpu / n,
        "core_ms": core_ms(seconds, busy_then - cpu, n),
        "n": n,
        "seconds": time.time() - started,
        "load": os.getloadavg()[0],
    }


def command(path, out, what, n_candidates, *more):
    made = [sys.executable, "-m", "photospec", "survey", path, "-o", out, "--what", what]
    made += ["--partition-rows", piece_rows(path), "--identifier", "objid"]
    made += ["--n-candidates", n_candidates] if n_candidates else []
    return list(map(str, [*made, *more]))


def is_worker(process):
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def watch(process, seen):
    """Note peak memory and processor time of the workers below a process."""
    for child in psutil.Process(process.pid).children(recursive=True):
        if not is_worker(child):
            continue
        try:
            status = Path(f"/proc/{child.pid}/status").read_text()
            peak = next(int(r.split()[1]) for r in status.splitlines() if r.startswith("VmHWM"))
            used = child.cpu_times()
        except (psutil.Error, OSError, StopIteration):
            continue
        one = seen.setdefault(child.pid, {})
        one["peak"], one["cpu"] = 1024 * peak, used.user + used.system


def survey(path, out, what, n_candidates):
    """Rate, processor time and memory of a survey with local workers, undisturbed."""
    shutil.rmtree(out, ignore_errors=True)
    log, started = Path(f"{out}.log"), time.time()
    with log.open("w") as stream:
        process = subprocess.Popen(
            command(path, out, what, n_candidates, "--workers", WORKERS), stderr=stream
        )
    seen, begun, spent = {}, None, []
    while process.poll() is None:
        if begun is None and "workers ready" not in log.read_text():
            time.sleep(0.02)
            continue
        begun = begun or time.time()
        watch(process, seen)
        all_workers = sum(one["cpu"] for one in seen.values())
        used = psutil.Process(process.pid).cpu_times()
        spent.append((time.time(), all_workers, all_workers + used.user + used.system, busy()))
        time.sleep(0.5)
    ended = time.time()
    if process.returncode:
        raise SystemExit(f"survey failed: {log.read_text()[-500:]}")
    # The files themselves tell when the last galaxy was written.
    last = max(file.stat().st_mtime for file in out.rglob("Npix=*.parquet"))
    # After that workers spend a second each to leave, which no image waits for.
    first = spent[0]
    then = next((one for one in spent if one[0] >= last), spent[-1])
    seconds, cpu, own, all_busy = (b - a for a, b in zip(first, then))
    n = json.loads((out / "photospec_run.json").read_text())["rows"]
    return {
        "rate": n / (last - begun),
        "cpu_ms": 1e3 * cpu / n,
        "core_ms": core_ms(last - begun, (all_busy - own) * (last - begun) / seconds, n),
        "peak_gb": max(one["peak"] for one in seen.values()) / 1e9,
        "n": n,
        "seconds": ended - started,
        "load": os.getloadavg()[0],
    }


def ratios(results, what):
    """Of the survey to the mean of the bare loops before and after it."""
    loops = [results[f"{what}-{when}"] for when in ("before", "after")]
    made = results[f"{what}-survey"]
    rate, cpu, core = (sum(one[k] for one in loops) / 2 for k in ("rate", "cpu_ms", "core_ms"))
    found = {"rate": made["rate"] / rate, "processor_time": cpu / made["cpu_ms"]}
    return found | {"core_time": core / made["core_ms"]}


class Cluster:
    """A scheduler and workers that are processes of their own."""

    def __init__(self, log):
        self.log, self.scheduler, self.workers = log, None, None

    def _dask(self, *words):
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, words)],
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def start(self):
        """Start what is not running."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.scheduler = self._dask(
                "scheduler", "--host", "127.0.0.1", "--port", PORT, "--dashboard-address", ":0"
            )
            time.sleep(5)
        if self.workers is None or self.workers.poll() is not None:
            self.workers = self._dask(
                "worker", f"tcp://127.0.0.1:{PORT}", "--nworkers", WORKERS, "--nthreads", 1,
                "--host", "127.0.0.1", "--dashboard-address", ":0",
            )  # fmt: skip

    def kill_worker(self, rng):
        """SIGKILL of one worker; its nanny starts another."""
        there = [c for c in psutil.Process(self.workers.pid).children(True) if is_worker(c)]
        if there:
            there[int(rng.integers(len(there)))].kill()
        return bool(there)

    def kill_all(self):
        for process in (self.workers, self.scheduler):
            if process is not None and process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
                process.wait()


def kills(folder, path, state, save, deadline):
    """Run until all is done, and kill at random moments; may be interrupted and goes on."""
    out = folder / "out-kills"
    rng = np.random.default_rng(state.setdefault("seed", 5))
    if "plan" not in state:
        moments = np.sort(rng.uniform(0.03, 0.95, len(KINDS)))
        order = rng.permutation(KINDS).tolist()
        state |= {"plan": list(zip(moments.tolist(), order)), "events": [], "starts": 0}
    size = piece_rows(path)
    pieces = {file.name: -(-n_rows(file) // size) for file in partitions(path)}
    total = sum(pieces.values())

    def part_done():
        whole = {file.name for file in (out / "dataset").rglob("Npix=*.parquet")}
        n = sum(pieces[name] for name in whole)
        for folder_of in (out / "pieces").glob("*_*"):
            if f"Npix={folder_of.name.split('_')[1]}.parquet" not in whole:
                n += len(list(folder_of.glob("[0-9]*.parquet")))
        return n / total

    with (folder / "kills.log").open("a") as log:
        cluster = Cluster(log)
        try:
            while True:
                cluster.start()
                state["starts"] += 1
                client = subprocess.Popen(
                    command(path, out, "photoz", None, "--scheduler", f"tcp://127.0.0.1:{PORT}"),
                    stdout=log,
                    stderr=log,
                )
                while client.poll() is None:
                    time.sleep(0.2)
                    if time.time() > deadline:
                        client.kill()
                        client.wait()
                        save()
                        return False
                    left = state["plan"][len(state["events"]) :]
                    done = part_done()
                    if not left or done < left[0][0]:
                        continue
                    kind = left[0][1]
                    if kind == "worker" and not cluster.kill_worker(rng):
                        continue
                    if kind == "scheduler":
                        cluster.scheduler.send_signal(signal.SIGKILL)
                    if kind == "client":
                        client.send_signal(signal.SIGKILL)
                    state["events"].append([kind, round(done, 3)])
                    save()
                    print(f"SIGKILL of {kind} at {done:.0%}", flush=True)
                print(f"client ended with {client.returncode}", flush=True)
                if client.returncode == 0:
                    break
        finally:
            cluster.kill_all()
    return True


def table(results):
    """Lines of the documentation's table."""
    for what in ("photoz", "predict", "measure"):
        loops = [results.get(f"{what}-{when}") for when in ("before", "after")]
        made = results.get(f"{what}-survey")
        if made is None or None in loops:
            continue
        ratio = ratios(results, what)
        for name, key, digits in (
            ("galaxies per second", "rate", 0 if made["rate"] > 20 else 2),
            ("processor time per galaxy, ms", "cpu_ms", 2),
            ("core time per galaxy, ms", "core_ms", 2),
            ("from start to end, s", "seconds", 0),
        ):
            bare_loop = ", ".join(f"{one[key]:.{digits}f}" for one in loops)
            yield f"{what}, {made['n']}: {name}: {bare_loop}; survey {made[key]:.{digits}f}"
        yield f"{what}: " + ", ".join(f"{key} {value:.2f}" for key, value in ratio.items())
    for name in ("small", "photoz-survey"):
        if name in results:
            yield f"peak of {results[name]['n']}: {results[name]['peak_gb']:.2f} GB"
    if "kills" in results:
        yield f"kills {results['killing']['events']}: {results['kills']}"


def n_rows(file):
    import pyarrow.parquet as pq

    return pq.ParquetFile(file).metadata.num_rows


def leaves(array):
    """Bytes of an Arrow array and all that it holds: two arrays are the same if these are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    yield np.asarray(array.is_null()).tobytes()
    if pa.types.is_struct(array.type):
        for part in array.flatten():
            yield from leaves(part)
    elif pa.types.is_list(array.type):
        yield np.asarray(pc.list_value_length(array).fill_null(-1)).tobytes()
        yield from leaves(array.flatten())
    elif pa.types.is_floating(array.type):
        yield array.fill_null(0).to_numpy(zero_copy_only=False).tobytes()
    else:
        yield repr(array.to_pylist()).encode()


def same(a, b):
    """What differs between two catalogues, and which rows are flagged as unusable."""
    import pyarrow.parquet as pq

    tables = [
        pq.ParquetDataset(sorted(out.rglob("Npix=*.parquet")), partitioning=None)
        .read()
        .sort_by("image")
        for out in (a, b)
    ]
    names = tables[1]["image"].to_pylist()
    bad = [
        name
        for name, flags in zip(names, tables[1]["flags"].to_pylist())
        if flags.startswith("unusable")
    ]
    return {
        "rows": len(names),
        "identifiers": len(set(names)),
        "columns_that_differ": [
            name
            for name in tables[0].column_names
            if b"".join(leaves(tables[0][name])) != b"".join(leaves(tables[1][name]))
        ],
        "unusable": len(bad),
        "unusable_as_made": bad == [name for name in names if is_bad(int(name[1:]))],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photoz", type=int, default=20_000)
    parser.add_argument("--small", type=int, default=2_000)
    parser.add_argument("--predict", type=int, default=20_000)
    parser.add_argument("--measure", type=int, default=2_000)
    parser.add_argument("--n-candidates", type=int, help="for predict and measure")
    parser.add_argument("--loop", type=int, default=10**9, help="images of a bare loop, at most")
    parser.add_argument("--only", nargs="*", help="steps to do")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no step after that")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    record = args.folder / "results.json"
    results = json.loads(record.read_text()) if record.is_file() else {}
    deadline = time.time() + 60 * args.minutes

    def save():
        record.write_text(json.dumps(results, indent=1))

    def catalogue(n):
        path = args.folder / f"cutouts-{n}"
        if not (path / "made").is_file():
            shutil.rmtree(path, ignore_errors=True)
            make(path, n)
            (path / "made").touch()
        return path

    def step(name, work, *more):
        """Do a step, unless it is done, not wanted, or the time is over."""
        wanted = not args.only or any(name.startswith(only) for only in args.only)
        if name not in results and wanted and time.time() < deadline:
            results[name] = work(*more)
            save()
            print(name, json.dumps(results[name]), flush=True)

    for what in ("photoz", "predict", "measure"):
        n_candidates = None if what == "photoz" else args.n_candidates
        if args.only and not any(only.startswith(what) for only in args.only):
            continue
        path = catalogue(getattr(args, what))
        out = args.folder / f"out-{what}-{path.name}"
        step(f"{what}-before", bare, path, what, n_candidates, args.loop)
        step(f"{what}-survey", survey, path, out, what, n_candidates)
        step(f"{what}-after", bare, path, what, n_candidates, args.loop)
        if all(f"{what}-{when}" in results for when in ("before", "survey", "after")):
            step(f"{what}-ratio", ratios, results, what)
    if not args.only or "small" in args.only:
        path = catalogue(args.small)
        step("small", survey, path, args.folder / f"out-photoz-{path.name}", "photoz", None)
    wanted = not args.only or "kills" in args.only
    if wanted and "kills" not in results and "photoz-survey" in results:
        path = catalogue(args.photoz)
        state = results.setdefault("killing", {})
        if kills(args.folder, path, state, save, deadline):
            undisturbed = args.folder / f"out-photoz-{path.name}"
            results["kills"] = same(undisturbed, args.folder / "out-kills")
            save()
            print("kills", json.dumps(results["kills"], indent=1), state["events"], flush=True)
    print(*table(results), sep="\n")


if __name__ == "__main__":
    main()
