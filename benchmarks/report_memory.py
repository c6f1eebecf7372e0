"""Memory that an evaluation report takes, by the number of pairs.

Run from the root of the repository, with a pairs file of some hundred galaxies::

    photospec simulate -n 400 -o pairs.h5
    python benchmarks/report_memory.py pairs.h5 2000 100000

Each report is of a file of so many pairs in which those of the given one stand again and again
(a virtual file, which takes no disk), made in a process of its own. What takes time and no memory
is left out: the spectrograph gives the true spectra of other galaxies, and only the first 32 pairs
are measured; the records of all others, which are made and kept in chunks of 32, repeat theirs.
The photometry, trees, neighbours, tables and figures are of all pairs.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np

from photospec.evaluation import Settings, compared, observed, predicted, report
from photospec.evaluation.records import CHUNK
from photospec.pairs import PairsFile
from photospec.spectrum import WAVELENGTH, from_arrays


def repeat(source, path, n):
    """A pairs file of n pairs that repeats those of another."""
    with h5py.File(source) as old, h5py.File(path, "w", libver="latest") as new:
        many = int(old.attrs["n_pairs"])
        for name, value in old.attrs.items():
            new.attrs[name] = n if name == "n_pairs" else value

        def copy(name, data):
            if not isinstance(data, h5py.Dataset):
                return
            if name == "spectrum/wavelength":
                new[name] = data[:]
            elif data.ndim == 1:
                column = np.resize(data[:many], n)
                if name == "object/redshift":  # or neighbours in photometry would be copies
                    column = column + 0.02 * np.random.default_rng(0).random(n)
                new[name] = column
            else:
                layout = h5py.VirtualLayout((n, *data.shape[1:]), data.dtype)
                given = h5py.VirtualSource(data)
                for start in range(0, n, many):
                    size = min(many, n - start)
                    layout[start : start + size] = given[:size]
                new.create_virtual_dataset(name, layout)

        old.visititems(copy)


class Other:
    """Gives each image the spectrum of another galaxy, several times."""

    config = SimpleNamespace(bands=tuple("ugriz"), image_size=64, provenance={"made": "up"})

    def __init__(self, source):
        with PairsFile(source) as pairs:
            self.flux = pairs.truth_flux()

    def line_spread(self):
        """Of the networks' spectra."""
        return np.full(WAVELENGTH.size, 2.4)

    def sample(self, image, n_candidates, *, seed=0):
        """Candidates of one image."""
        state = np.ascontiguousarray(np.asarray(image.data)[2]).view(np.uint32).ravel()
        rng = np.random.default_rng([seed, *state[:4]])
        rows = rng.integers(len(self.flux), size=n_candidates)
        return SimpleNamespace(
            spectra=from_arrays(WAVELENGTH, self.flux[rows]),
            similarity=rng.random(n_candidates),
            best_index=0,
            expected_redshift=None,
        )

    def ood_score(self, images):
        """Nothing is unusual."""
        return np.zeros(len(images))


def _first_again(measure_rows, n, store, *, chunk=CHUNK, **_):
    first = measure_rows(np.arange(chunk))
    rows = np.arange(n) % chunk
    once = ("example", "measured")  # spectra to draw, galaxies measured in full
    return {k: v if k.endswith(once) else v[rows] for k, v in first.items()}


def measure(source, n, folder):
    """Make a report; return seconds, and GB at most."""
    for module in (compared, observed, predicted):
        module.collect = _first_again
    path = folder / "many.h5"
    repeat(source, path, n)
    settings = Settings(n_candidates=4, n_measured=12, n_set=1, n_unusual=0, progress=True)
    start = time.perf_counter()
    report({"other": Other(source)}, path, folder / "report.html", settings=settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"pairs": n, "seconds": round(time.perf_counter() - start), "GB": round(peak, 2)}


def main(arguments):
    """Measure each number of pairs in a process of its own."""
    source = Path(arguments[0]).resolve()
    if arguments[1] == "--one":
        print(json.dumps(measure(source, int(arguments[2]), Path(arguments[3]))))
        return
    for n in arguments[1:]:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, str(source), "--one", n, folder]
            found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        print(found.stdout.strip(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
