"""What users wait for. Run: ``cd benchmarks && asv run --environment existing --quick``."""

import subprocess
import sys


def _python(code):
    subprocess.run([sys.executable, "-c", code], check=True)


def _images(n):
    from astropy import units as u
    from astropy.nddata import NDData

    from photospec.image import NANOMAGGY
    from photospec.simulation import Survey

    survey = Survey.sdss_main(seed=77)
    meta = {"bands": survey.bands, "pixel_scale": survey.pixel_scale * u.arcsec}
    return [NDData(data, unit=NANOMAGGY, meta=dict(meta)) for data in survey.simulate(n).image]


class Start:
    """A new process until it answers."""

    number, repeat = 1, 5

    def time_import(self):
        _python("import photospec")

    def time_version(self):
        _python("from photospec.cli import main; main(['--version'])")


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
