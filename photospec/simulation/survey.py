"""Surveys: an immutable description of sky and instrument that renders pairs.

Galaxies are made in blocks of 64, each with its own random streams seeded by
(seed, block number), so galaxy i of a survey is the same galaxy whatever the batch, the
order, or the number of processes.
"""

from dataclasses import dataclass, field, fields, replace

import numpy as np

from photospec.config import read_toml, write_toml
from photospec.errors import InputError
from photospec.photometry.filters import load_band
from photospec.simulation.batch import BLOCK, Batch, simulate_block
from photospec.simulation.galaxies.population import PopulationConfig
from photospec.simulation.instrument.fibre import SpectrographConfig
from photospec.simulation.instrument.noise import NoiseConfig
from photospec.simulation.instrument.psf import PsfConfig
from photospec.simulation.instrument.scene import SceneConfig

__all__ = ["Survey"]


@dataclass(frozen=True)
class Survey:
    """An imaging survey with fibre spectra.

    Each field's meaning is its ``help`` metadata.

    Examples
    --------
    >>> from photospec.simulation import Survey
    >>> survey = Survey.sdss_main(seed=1)
    >>> batch = survey.simulate(8)  # doctest: +SKIP
    >>> larger = survey.replace(size=96)
    """

    name: str = field(default="sdss_main", metadata={"help": "of the survey"})
    seed: int = field(default=0, metadata={"help": "same seed, same galaxies", "min": 0})
    bands: tuple[str, ...] = field(
        default=tuple("ugriz"), metadata={"help": "letters of the image's bands among u g r i z"}
    )
    responses: tuple[str, ...] = field(
        default=tuple("ugriz"),
        metadata={"help": "response curve of each band: u g r i z of SDSS or a name of speclite"},
    )
    pixel_scale: float = field(default=0.396, metadata={"help": "arcsec"})
    size: int = field(default=64, metadata={"help": "pixels on a side of the images"})
    galactic_extinction: bool = field(
        default=True,
        metadata={"help": "dust of the Milky Way dims images and spectra, as in uncorrected data"},
    )
    sky_frames: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "folders of SDSS frames, one field each: their sky, noise and neighbours are "
            "used instead of simulated ones"
        },
    )
    population: PopulationConfig = field(default_factory=PopulationConfig)
    scene: SceneConfig = field(default_factory=SceneConfig)
    psf: PsfConfig = field(default_factory=PsfConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    spectrograph: SpectrographConfig = field(default_factory=SpectrographConfig)

    def __post_init__(self):
        if not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise InputError(f"seed: expected an integer of at least 0, got {self.seed!r}")
        unknown = [b for b in self.bands if b not in "ugriz" or len(b) != 1]
        if unknown or not self.bands:
            raise InputError(
                f"bands: expected letters among u, g, r, i, z, got {self.bands!r}; the image model "
                "knows colours in these bands only"
            )
        per_band = {
            "responses": self.responses,
            "psf.fwhm": self.psf.fwhm,
            "noise.sky_rms": self.noise.sky_rms,
            "noise.sky_rms_scatter": self.noise.sky_rms_scatter,
            "noise.electron": self.noise.electron,
        }
        for key, value in per_band.items():
            if len(value) != len(self.bands):
                raise InputError(
                    f"{key}: expected one value per band ({len(self.bands)}), got {len(value)}; "
                    "change it together with bands"
                )
        if self.sky_frames and abs(self.pixel_scale / 0.396 - 1) > 0.01:
            raise InputError(
                "sky_frames: expected a survey of 0.396 arcsec per pixel as SDSS frames have, got "
                f"{self.pixel_scale!r}"
            )
        for response in self.responses:
            load_band(response)
        if not 16 <= self.size <= 512:
            raise InputError(f"size: expected 16 to 512 pixels, got {self.size!r}")
        if not 0.05 <= self.pixel_scale <= 5:
            raise InputError(
                f"pixel_scale: expected 0.05 to 5 arcsec, got {self.pixel_scale!r}; wrong unit?"
            )
        if not 2 * self.spectrograph.fibre_radius < self.size * self.pixel_scale:
            raise InputError(
                "spectrograph.fibre_radius: expected a fibre inside the image of "
                f"{self.size * self.pixel_scale:.1f} arcsec, got {self.spectrograph.fibre_radius!r}"
            )

    @classmethod
    def sdss_main(cls, seed=0):
        """SDSS Main Galaxy Sample: r < 17.77, ugriz, three-arcsecond fibres.

        Parameters
        ----------
        seed : int

        Returns
        -------
        Survey
        """
        return cls(seed=seed)

    @classmethod
    def desi_legacy(cls, seed=0):
        """DESI Bright Galaxy Survey with Legacy Surveys g, r, z images.

        Seeing and depth: Dey et al. 2019 (AJ 157, 168); fibres of 1.5 arcsec and
        resolution: DESI Collaboration 2022 (AJ 164, 207).

        Parameters
        ----------
        seed : int

        Returns
        -------
        Survey
        """
        return cls(
            name="desi_legacy",
            seed=seed,
            bands=("g", "r", "z"),
            responses=("decam2014-g", "decam2014-r", "decam2014-z"),
            pixel_scale=0.262,
            size=96,
            population=PopulationConfig(r_limit=19.5),
            psf=PsfConfig(fwhm=(1.29, 1.18, 1.11), ellipticity_mean=0.0),
            noise=NoiseConfig(
                sky_rms=(0.0038, 0.0080, 0.0180),
                sky_rms_scatter=(0.2, 0.2, 0.2),
                electron=(0.0002, 0.0002, 0.0004),
                resample=False,
            ),
            spectrograph=SpectrographConfig(
                fibre_radius=0.75,
                wavelength_range=(3600.0, 9800.0),
                lsf_wavelength=(3600.0, 5800.0, 7600.0, 9800.0),
                lsf_sigma=(60.0, 38.0, 32.0, 25.0),
                noise_wavelength=(3600.0, 3800.0, 4200.0, 5000.0, 6500.0, 8000.0, 9800.0),
                noise_sigma=(2.5, 1.6, 0.9, 0.65, 0.45, 0.45, 0.6),
            ),
        )

    @classmethod
    def read(cls, path):
        """Read a survey from a TOML file; what it leaves out is as in the SDSS Main Sample.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        Survey

        Raises
        ------
        InputError
            Naming file and line.
        """
        return read_toml(cls, path)

    def write(self, path, *, overwrite=False):
        """Write all settings to a TOML file whose comments explain them.

        Parameters
        ----------
        path : path-like
        overwrite : bool
            Replace an existing file.
        """
        write_toml(self, path, overwrite=overwrite)

    def replace(self, **changes):
        """Return a survey that differs in the named fields.

        Raises
        ------
        InputError
            If there is no such field or the value is impossible.
        """
        known = [f.name for f in fields(self)]
        for key in changes:
            if key not in known:
                raise InputError(
                    f"survey: expected parameters among {', '.join(known)}, got {key!r}; "
                    "is it a field of population, psf or another part?"
                )
        return replace(self, **changes)

    def simulate(self, n, start=0, *, indices=()):
        """Make n pairs.

        Parameters
        ----------
        n : int
        start : int
            Number of the first galaxy.
        indices : sequence, optional
            Spectral indices for the truth table, such as those of `photospec.analysis`; any
            objects with `name`, `kind` and the air-wavelength limits `blue`, `band`, `red`.

        Returns
        -------
        Batch
            Galaxies start to start + n - 1.
        """
        whole = all(isinstance(value, int | np.integer) for value in (n, start))
        if not whole or n < 1 or start < 0:
            raise InputError(
                f"n, start: expected whole numbers n >= 1 and start >= 0, got {n!r} and {start!r}"
            )
        blocks = range(start // BLOCK, (start + n - 1) // BLOCK + 1)
        batch = Batch.concatenate([simulate_block(self, block, indices) for block in blocks])
        first = start - blocks[0] * BLOCK
        return batch if (first, n) == (0, len(batch)) else batch[first : first + n]
