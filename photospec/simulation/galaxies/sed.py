"""Spectra of drawn galaxies: stars, dust, velocities, emission lines and redshift."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import erf

from photospec.dust import attenuation_curve, galactic_transmission
from photospec.errors import InputError
from photospec.lines import continuum_beside
from photospec.simulation.galaxies.cosmology import luminosity_distance
from photospec.simulation.galaxies.evolution import epoch_correction
from photospec.simulation.galaxies.gas import line_index
from photospec.simulation.galaxies.photometry import LUMINOSITY_TO_FLUX
from photospec.simulation.galaxies.population import PopulationConfig
from photospec.simulation.galaxies.stars import DEEP_REDSHIFT, LOG_STEP, stellar_basis
from photospec.simulation.galaxies.table import DUST_LAWS, Galaxies
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["OBSERVED_WAVELENGTH", "ComponentSpectra", "render_spectra"]

OBSERVED_WAVELENGTH = 10 ** (np.log10(2900.0) + LOG_STEP * np.arange(5869))
"""Observed vacuum Angstrom of rendered spectra, 2900 to 11200, the step of SDSS spectra."""

LINE_NAMES = (  # noqa: SIM905 - reads better than a list
    "oii_3726 oii_3729 neiii_3869 h_epsilon hdelta hgamma oiii_4363 heii_4686 hbeta oiii_4959 "
    "oiii_5007 oi_6300 oi_6364 nii_6548 halpha nii_6584 sii_6716 sii_6731"
).split()
"""Lines whose fluxes and continua are reported."""

TEMPLATE_DISPERSION = 64.0
"""Resolution of the templates, km/s: MILES has 2.51 Angstrom FWHM, here at 5000 Angstrom."""

_LEAST_DISPERSION = 35.0  # half a pixel: keeps the sub-pixel shift from ringing
_PIXEL_KMS = SPEED_OF_LIGHT * np.log(10) * LOG_STEP


@dataclass(frozen=True, repr=False)
class ComponentSpectra:
    """Spectra of bulges and disks, noiseless and without instrument.

    Attributes
    ----------
    wavelength : ndarray, shape (n_w,)
        Observed frame, vacuum Angstrom, logarithmic steps.
    bulge, disk : ndarray of float32, shape (n, n_w)
        Total light of each component, lines included, 1e-17 erg/s/cm2/Angstrom.
    bulge_line_flux, disk_line_flux : dict of str to ndarray, shape (n,)
        Observed line fluxes, 1e-17 erg/s/cm2.
    bulge_line_continuum, disk_line_continuum : dict of str to ndarray, shape (n,)
        Continuum flux density beside each line, observed frame, so that the rest-frame equivalent
        width is line_flux / continuum / (1 + redshift).
    """

    wavelength: np.ndarray
    bulge: np.ndarray
    disk: np.ndarray
    bulge_line_flux: dict = field(default_factory=dict)
    disk_line_flux: dict = field(default_factory=dict)
    bulge_line_continuum: dict = field(default_factory=dict)
    disk_line_continuum: dict = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<ComponentSpectra: {len(self.bulge)} galaxies, {len(self.wavelength)} pixels>"


def render_spectra(
    galaxies: Galaxies,
    *,
    config: PopulationConfig | None = None,
    galactic_extinction: bool = False,
    corrected: bool = True,
) -> ComponentSpectra:
    """Return the observed-frame spectra of the components of drawn galaxies.

    Parameters
    ----------
    galaxies : Galaxies
        From `draw_galaxies`.
    config : PopulationConfig, optional
        Gives the cosmology; the one the galaxies were drawn with.
    galactic_extinction : bool
        Dim the spectra by the Milky Way's dust (`galaxies.galactic_ebv`).
    corrected : bool
        Use the templates with their empirical colour correction; False for the bare ones.

    Raises
    ------
    InputError
        If galaxies lie beyond what templates of a population without evolution reach.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.simulation import PopulationConfig, draw_galaxies, render_spectra
    >>> config = PopulationConfig(r_limit=16.0)
    >>> galaxies = draw_galaxies(config, np.random.default_rng(1), 3)
    >>> spectra = render_spectra(galaxies, config=config)
    >>> spectra.bulge.shape, sorted(spectra.disk_line_flux)[:2]
    ((3, 5869), ['h_epsilon', 'halpha'])
    """
    config = config or PopulationConfig()
    g, z = galaxies, galaxies.redshift
    deep = config.evolution is not None
    if not deep and z.max(initial=0.0) > DEEP_REDSHIFT:
        raise InputError(
            f"galaxies: expected redshifts up to {DEEP_REDSHIFT}, got {z.max():.3f}; pass the "
            "config that they were drawn with"
        )
    basis = stellar_basis(corrected, deep)
    scale = LUMINOSITY_TO_FLUX / luminosity_distance(config, z) ** 2
    density = (scale / (1 + z))[:, None].astype(np.float32)
    law = g.dust_law

    bulge = (g.bulge_weights @ basis.luminosity) * _dimming(law, g.bulge_av, deep)
    young = np.flatnonzero(basis.young)
    old = np.flatnonzero(~basis.young)
    disk = (g.disk_weights[:, young] @ basis.luminosity[young]) * _dimming(
        law, g.birth_cloud_av, deep
    )
    disk += g.disk_weights[:, old] @ basis.luminosity[old]
    disk *= _dimming(law, g.disk_av, deep)
    if deep:
        epoch = epoch_correction(config.evolution.template_magnitude, basis.wavelength, z)
        bulge, disk = bulge * epoch, disk * epoch
    out, flux, continuum = [], [], []
    for stars, dispersion, lines, width in (
        (
            bulge,
            g.bulge_velocity_dispersion,
            g.bulge_line_luminosity,
            g.narrow_line_velocity_dispersion,
        ),
        (disk, g.disk_velocity_dispersion, g.disk_line_luminosity, g.gas_velocity_dispersion),
    ):
        spectra = _observe(stars * density, basis.wavelength, z, dispersion)
        continuum.append(_beside_lines(spectra, z))
        line_flux = lines * scale[:, None]
        flux.append({name: line_flux[:, line_index(name)] for name in LINE_NAMES})
        _add_lines(spectra, line_flux, basis.line_wavelength * (1 + z[:, None]), width)
        out.append(spectra)
    if galactic_extinction:
        through = galactic_transmission(OBSERVED_WAVELENGTH, g.galactic_ebv)
        through = through.astype(np.float32)
        out = [spectra * through for spectra in out]
    return ComponentSpectra(OBSERVED_WAVELENGTH, *out, *flux, *continuum)


@lru_cache
def _curves(deep):
    wave = stellar_basis(deep=deep).wavelength
    return np.array([attenuation_curve(k, wave) for k in DUST_LAWS]).astype(np.float32)


def _dimming(law, av, deep):
    """Return the share of light that dust leaves, (n, n_w)."""
    factor = (-0.4 * np.log(10) * av).astype(np.float32)
    return np.exp(factor[:, None] * _curves(deep)[law])


def _observe(stars, rest, redshift, dispersion):
    """Broaden rest-frame spectra by velocity and move them onto the observed pixels.

    On a logarithmic grid both are products in Fourier space: a Gaussian and a phase. What the
    templates' own resolution has broadened already is taken off in quadrature.
    """
    size = next_fast_len(len(rest) + 512, real=True)
    padded = np.empty((len(stars), size), np.float32)
    padded[:, : len(rest)] = stars
    padded[:, len(rest) :] = stars[:, -1:]
    sigma = np.sqrt(np.clip(dispersion**2 - TEMPLATE_DISPERSION**2, _LEAST_DISPERSION**2, None))
    shift = np.log10(rest[0] * (1 + redshift) / OBSERVED_WAVELENGTH[0]) / LOG_STEP
    k = (2 * np.pi * np.arange(size // 2 + 1) / size).astype(np.float32)
    phase = np.exp(-0.5 * ((sigma / _PIXEL_KMS)[:, None].astype(np.float32) * k) ** 2) * np.exp(
        -1j * (shift[:, None].astype(np.float32) * k)
    )
    moved = irfft(rfft(padded, axis=1) * phase, n=size, axis=1)
    return np.ascontiguousarray(moved[:, : len(OBSERVED_WAVELENGTH)])


def _beside_lines(spectra, redshift):
    """Return the continuum of the stars beside each reported line, as the analysis takes it."""
    rest = stellar_basis().line_wavelength[[line_index(name) for name in LINE_NAMES]]
    continuum = continuum_beside(OBSERVED_WAVELENGTH, spectra, rest * (1 + redshift[:, None]))
    return dict(zip(LINE_NAMES, continuum.T, strict=True))


def _add_lines(spectra, line_flux, centre, dispersion):
    """Add lines in place, each a Gaussian in log wavelength integrated over the pixels."""
    n, n_w = spectra.shape
    half = int(np.ceil(5 * dispersion.max() / _PIXEL_KMS)) + 1
    position = np.log10(centre / OBSERVED_WAVELENGTH[0]) / LOG_STEP
    nearest = np.rint(position).astype(int)
    strong = (nearest > half) & (nearest < n_w - half - 1) & (line_flux > 0)
    row, line = np.nonzero(strong)
    edges = nearest[row, line, None] + np.arange(-half, half + 2) - 0.5 - position[row, line, None]
    inside = 0.5 * np.diff(erf(edges / (np.sqrt(2) * dispersion[row, None] / _PIXEL_KMS)), axis=1)
    pixel = nearest[row, line, None] + np.arange(-half, half + 1)
    width = OBSERVED_WAVELENGTH * np.log(10) * LOG_STEP
    value = line_flux[row, line, None] * inside / width[pixel]
    flat = np.bincount((row[:, None] * n_w + pixel).ravel(), value.ravel(), minlength=n * n_w)
    spectra += flat.reshape(n, n_w).astype(np.float32)
