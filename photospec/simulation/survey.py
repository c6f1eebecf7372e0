"""Surveys: one immutable description of sky and instruments, which renders pairs.

A survey is registered by name (`SURVEYS`, `register_survey`) or read from a TOML file.

Galaxies are made in blocks of 64, each with its own random streams seeded by
(seed, block number), so galaxy i of a survey is the same galaxy whatever the batch, the
order, or the number of processes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from typing import Self

import numpy as np

from photospec.config import read_toml, setting, whole_number, write_toml
from photospec.dust import response_extinction
from photospec.errors import InputError
from photospec.photometry.filters import effective_wavelength, load_band
from photospec.simulation.galaxies.population import PopulationConfig
from photospec.simulation.galaxies.sed import OBSERVED_WAVELENGTH
from photospec.simulation.instrument.fibre import InstrumentConfig
from photospec.simulation.instrument.noise import NoiseConfig
from photospec.simulation.instrument.psf import PsfConfig
from photospec.simulation.instrument.scene import SceneConfig
from photospec.simulation.pairs import BLOCK, SimulatedPairs, simulate_block
from photospec.spectrum.wavelengths import WAVELENGTH
from photospec.utils.registry import Registry

__all__ = ["SURVEYS", "Survey", "register_survey"]

#: Registered surveys by name; `register_survey` adds to them.
SURVEYS = Registry("survey")

# Keys of older survey files.
_RENAMED = {"frost_scatter": "quiescent_ssfr_scatter"}
# Response curves have tails of some 1e-5 far from the band.
_COVERED = 0.999
# Magnitudes of images over AB ones by response: ``benchmarks/real_redshifts.py zero-points``.
_ZERO_POINTS = {"u": 0.08}


@dataclass(frozen=True)
class Survey:
    """An imaging survey with fibre spectra.

    `Survey.write` writes each field with its meaning.

    Examples
    --------
    >>> from photospec.simulation import Survey
    >>> survey = Survey.named("sdss_main", seed=1)
    >>> pairs = survey.simulate(2)
    >>> pairs.image.shape
    (2, 5, 64, 64)
    >>> larger = survey.replace(size=96)
    """

    name: str = setting("sdss_main", "of the survey")
    seed: int = setting(0, "same seed, same galaxies", min=0)
    bands: tuple[str, ...] = setting(tuple("ugriz"), "names of the image's bands")
    responses: tuple[str, ...] = setting(
        tuple("ugriz"),
        "response curve of each band: u g r i z of SDSS, a name of speclite, or a file in its ECSV "
        "format (vacuum Angstrom)",
    )
    extinction: tuple[float, ...] | None = setting(
        None,
        "extinction of each band over the Milky Way's E(B-V) on the SFD scale; left out: Schlafly "
        "& Finkbeiner (2011) for bands of SDSS and DECam, their curve through the response for "
        "others",
        min=0,
        max=20,
    )
    zero_points: tuple[float, ...] | None = setting(
        None,
        "of each band: magnitudes of the images over AB ones, mag; spectra and true magnitudes are "
        "AB. Left out: 0.08 in u of SDSS, whose frames differ by that from the catalogue that "
        "colours were calibrated on, else 0",
        min=-1,
        max=1,
    )
    pixel_scale: float = setting(0.396, "arcsec")
    size: int = setting(64, "pixels on a side of the images")
    galactic_extinction: bool = setting(
        True, "dust of the Milky Way dims images and spectra, as in uncorrected data"
    )
    sky_frames: tuple[str, ...] = setting(
        (),
        "folders of SDSS frames, one field each: their sky, noise and neighbours are used instead "
        "of simulated ones",
    )
    population: PopulationConfig = field(default_factory=PopulationConfig)
    scene: SceneConfig = field(default_factory=SceneConfig)
    psf: PsfConfig = field(default_factory=PsfConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    spectrograph: InstrumentConfig = field(default_factory=InstrumentConfig)

    def __post_init__(self):
        whole_number("seed", self.seed, 0)
        _check_bands(self)
        if self.sky_frames and abs(self.pixel_scale / 0.396 - 1) > 0.01:
            raise InputError(
                "sky_frames: expected a survey of 0.396 arcsec per pixel as SDSS frames have, got "
                f"{self.pixel_scale!r}"
            )
        if self.sky_frames and not set(self.bands) <= set("ugriz"):
            raise InputError(
                f"sky_frames: expected bands among u, g, r, i, z as SDSS frames have, got "
                f"{', '.join(self.bands)}"
            )
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
    def named(cls, name: str, seed: int = 0) -> Self:
        """Return a registered survey.

        Parameters
        ----------
        name : str
            A key of `SURVEYS`.
        seed : int

        Returns
        -------
        Survey

        Raises
        ------
        InputError
            If there is no such survey.

        Examples
        --------
        >>> from photospec.simulation import SURVEYS, Survey
        >>> sorted(SURVEYS)
        ['desi_legacy', 'hsc_wide', 'lsst', 'sdss_main']
        >>> Survey.named("lsst").bands
        ('u', 'g', 'r', 'i', 'z', 'y')
        """
        return replace(SURVEYS.get(name), seed=seed)

    @classmethod
    def sdss_main(cls, seed: int = 0) -> Self:
        """Return the registered survey "sdss_main": the SDSS Main Galaxy Sample."""
        return cls.named("sdss_main", seed)

    @classmethod
    def desi_legacy(cls, seed: int = 0) -> Self:
        """Return the registered survey "desi_legacy": Legacy Surveys images, DESI spectra."""
        return cls.named("desi_legacy", seed)

    @classmethod
    def read(cls, path: str | PathLike) -> Self:
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
        try:
            return read_toml(cls, path)
        except InputError as error:
            for old, new in _RENAMED.items():
                if f"got the key 'population.{old}'" in str(error):
                    where = str(error).partition(": expected")[0]
                    raise InputError(f"{where}: expected {new}, got {old}, its old name") from None
            raise

    def write(self, path: str | PathLike, *, overwrite: bool = False) -> None:
        """Write all settings to a TOML file whose comments explain them.

        Parameters
        ----------
        path : path-like
        overwrite : bool
            Replace an existing file.
        """
        write_toml(self, path, overwrite=overwrite)

    @property
    def band_extinction(self) -> np.ndarray:
        """Extinction of each band over E(B-V) on the SFD scale, ndarray of shape (n_bands,)."""
        if self.extinction is not None:
            return np.array(self.extinction, float)
        return np.array([response_extinction(response) for response in self.responses])

    @property
    def band_factor(self) -> np.ndarray:
        """Fluxes of each band in images over AB ones, ndarray of shape (n_bands,) of float32."""
        points = self.zero_points
        if points is None:
            points = [_ZERO_POINTS.get(response, 0.0) for response in self.responses]
        return (10 ** (-0.4 * np.array(points, float))).astype(np.float32)

    def replace(self, **changes: object) -> Self:
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

    def simulate(self, n: int, start: int = 0, *, indices: Sequence = ()) -> SimulatedPairs:
        """Make n pairs.

        Parameters
        ----------
        n : int
        start : int
            Number of the first galaxy.
        indices : sequence, optional
            Spectral indices for the truth table, such as those of `photospec.analysis`; any
            objects with ``name``, ``kind`` and the air-wavelength limits ``blue``, ``band``,
            ``red``.

        Returns
        -------
        SimulatedPairs
            Galaxies start to start + n - 1.
        """
        n, start = whole_number("n", n, 1), whole_number("start", start, 0)
        blocks = range(start // BLOCK, (start + n - 1) // BLOCK + 1)
        pairs = SimulatedPairs.concatenate([simulate_block(self, b, indices) for b in blocks])
        first = start - blocks[0] * BLOCK
        return pairs if (first, n) == (0, len(pairs)) else pairs[first : first + n]


def register_survey(survey: Survey, *, overwrite: bool = False) -> Survey:
    """Make a survey known by its name, to `Survey.named` and to ``photospec simulate --survey``.

    Parameters
    ----------
    survey : Survey
        Its ``name`` is the name.
    overwrite : bool
        Replace a registered survey.

    Returns
    -------
    Survey
        The same.

    Raises
    ------
    InputError
        If the name is taken or is no name.

    Examples
    --------
    >>> from photospec.simulation import SURVEYS, Survey, register_survey
    >>> wide = Survey.named("sdss_main").replace(name="sdss_wide", size=96)
    >>> register_survey(wide).size
    96
    >>> Survey.named("sdss_wide", seed=3).seed
    3
    >>> del SURVEYS["sdss_wide"]
    """
    if not isinstance(survey, Survey):
        raise InputError(f"survey: expected a Survey, got {type(survey).__name__}")
    if not re.fullmatch(r"[A-Za-z]\w*", survey.name):
        raise InputError(
            f"name: expected letters, digits and underscores, got {survey.name!r}; a name with a "
            "dot or a slash is taken for a file"
        )
    SURVEYS.register(survey.name, survey, overwrite=overwrite)
    return survey


def _check_bands(survey):
    """Refuse bands without a name, lists of other lengths, curves that cannot be used."""
    bands = survey.bands
    # Names become parts of column names, and a comma or blank would end an option's value.
    odd = [b for b in bands if not isinstance(b, str) or not re.fullmatch(r"[A-Za-z][\w+-]*", b)]
    if odd or not bands or len(set(bands)) != len(bands):
        raise InputError(
            "bands: expected different names of letters and digits, beginning with a letter, got "
            f"{bands!r}"
        )
    per_band = {
        "responses": survey.responses,
        "extinction": survey.extinction,
        "zero_points": survey.zero_points,
        "psf.fwhm": survey.psf.fwhm,
        "noise.sky_rms": survey.noise.sky_rms,
        "noise.sky_rms_scatter": survey.noise.sky_rms_scatter,
        "noise.electron": survey.noise.electron,
    }
    for key, value in per_band.items():
        if value is not None and len(value) != len(bands):
            raise InputError(
                f"{key}: expected one value per band ({len(bands)}), got {len(value)}; "
                "change it together with bands"
            )
    low, high = OBSERVED_WAVELENGTH[0], OBSERVED_WAVELENGTH[-1]
    for response in survey.responses:
        try:
            band = load_band(response)
        except InputError as error:
            raise InputError(str(error).replace("bands:", "responses:", 1)) from None
        seen = (band.wavelength > low) & (band.wavelength < high)
        share = np.trapezoid(band.response * seen, band.wavelength)
        share /= np.trapezoid(band.response, band.wavelength)
        if share < _COVERED:
            raise InputError(
                f"responses: expected curves within {low:.0f} to {high:.0f} Angstrom, the range of "
                f"simulated spectra, got {response!r} with {100 * share:.1f} % of it there; in "
                "another unit?"
            )
    middle = [effective_wavelength(response) for response in survey.responses]
    if len({round(value) for value in middle}) < len(middle):
        raise InputError(
            f"responses: expected a curve of its own for each band, got {survey.responses!r}"
        )
    if not any(WAVELENGTH[0] < value < WAVELENGTH[-1] for value in middle):
        raise InputError(
            f"responses: expected a band between {WAVELENGTH[0]:.0f} and {WAVELENGTH[-1]:.0f} "
            f"Angstrom, the range of the spectra, got {survey.responses!r}"
        )
