"""What users wait for. Run: ``cd benchmarks && asv run --environment existing --quick``."""

import subprocess
import sys


def _python(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


# Prints seconds, processor seconds and peak memory in MB, without a simulator in them.
_FIRST = """
import resource, time
start = time.perf_counter()
import numpy as np
from astropy import units as u
from astropy.nddata import NDData
from photospec import PhotoSpectrograph
from photospec.image import NANOMAGGY
y, x = np.mgrid[:64, :64] - 32
data = np.array([0.3, 1, 2, 3, 4])[:, None, None] * np.exp(-np.hypot(x, y) / 4)
meta = {"bands": tuple("ugriz"), "pixel_scale": 0.396 * u.arcsec}
PhotoSpectrograph.load().predict(NDData(data, unit=NANOMAGGY, meta=meta), seed=0)
print(time.perf_counter() - start, time.process_time())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
"""


def _images(n, survey=None):
    from astropy import units as u
    from astropy.nddata import NDData

    from photospec.image import NANOMAGGY
    from photospec.simulation import Survey

    survey = survey or Survey.sdss_main(seed=77)
    meta = {"bands": survey.bands, "pixel_scale": survey.pixel_scale * u.arcsec}
    return [NDData(data, unit=NANOMAGGY, meta=dict(meta)) for data in survey.simulate(n).image]


class Start:
    """A new process until it answers."""

    number, repeat = 1, 5

    def time_import(self):
        _python("import photospec")

    def time_version(self):
        _python("from photospec.cli import main; main(['--version'])")

    def track_import_loads_torch(self):
        return int(_python("import photospec, sys; print('torch' in sys.modules)") == "True")


class FirstPrediction:
    """A new process: load the bundled weights and predict. To reach: 5 s and 1000 MB."""

    timeout = 300

    def setup_cache(self):
        return [[float(x) for x in _python(_FIRST).split()] for _ in range(3)]

    def track_seconds(self, runs):
        return min(run[0] for run in runs)

    def track_processor_seconds(self, runs):
        return min(run[1] for run in runs)

    def track_megabytes(self, runs):
        return max(run[2] for run in runs)


class Predict:
    """From image to spectrum with the bundled weights."""

    number, repeat, timeout = 1, 3, 300

    def setup(self):
        from photospec import PhotoSpectrograph

        self.images = _images(16)
        self.spectrograph = PhotoSpectrograph.load()
        self.spectrograph.predict(self.images[:1], seed=0)

    def time_load_and_first_prediction(self):
        from photospec import PhotoSpectrograph

        PhotoSpectrograph.load().predict(self.images[0], seed=0)

    def time_one_image(self):
        self.spectrograph.predict(self.images[0], seed=0)

    def time_sixteen_images(self):
        self.spectrograph.predict(self.images, seed=0)

    def peakmem_one_image(self):
        self.spectrograph.predict(self.images[0], seed=0)


class Prepare:
    """What every pair goes through. To reach: 2 ms for an image of 96 pixels."""

    def setup(self):
        import numpy as np

        from photospec.image import prepare_image
        from photospec.simulation import Survey
        from photospec.spectrum import to_training_grid

        self.prepare, self.to_training_grid = prepare_image, to_training_grid
        self.survey = Survey.sdss_main(seed=77).replace(size=96)
        [self.image] = _images(1, self.survey)
        self.wavelength = 10 ** np.arange(3.58, 3.96, 1e-4)  # of SDSS spectra
        self.flux = np.random.default_rng(0).random((64, self.wavelength.size), dtype=np.float32)

    def time_image(self):
        self.prepare(self.image)

    def time_spectra_to_training_grid(self):
        """64 spectra; to reach: 5 ms."""
        self.to_training_grid(self.wavelength, self.flux)


class Train:
    """The preset ``tiny`` on 500 pairs. To reach: a minute a stage."""

    number, repeat, timeout = 1, 1, 600
    params = ("base", "super-resolution", "contrastive")
    param_names = ("stage",)

    def setup_cache(self):
        from photospec.simulation import simulate_pairs

        return str(simulate_pairs(500, "pairs.h5").resolve())

    def time_tiny(self, pairs, stage):
        import tempfile

        from photospec.training import TrainConfig, train

        with tempfile.TemporaryDirectory() as folder:
            train(TrainConfig.preset("tiny", stage), pairs, f"{folder}/run")
