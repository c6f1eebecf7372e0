"""The surveys that photospec knows by name, with the sources of their numbers."""

import numpy as np

from photospec.dust import BAND_EXTINCTION
from photospec.simulation.galaxies.evolution import EvolutionConfig
from photospec.simulation.galaxies.population import PopulationConfig
from photospec.simulation.instrument.fibre import InstrumentConfig
from photospec.simulation.instrument.noise import NoiseConfig, sky_rms_of_depth
from photospec.simulation.instrument.psf import PsfConfig
from photospec.simulation.instrument.scene import SceneConfig
from photospec.simulation.survey import Survey, register_survey

__all__ = []

# DESI: fibres of 1.5 arcsec; resolution and throughput of DESI Collaboration (2022, AJ 164, 207).
_DESI = InstrumentConfig(
    fibre_radius=0.75,
    wavelength_range=(3600.0, 9800.0),
    lsf_wavelength=(3600.0, 5800.0, 7600.0, 9800.0),
    lsf_sigma=(60.0, 38.0, 32.0, 25.0),
    noise_wavelength=(3600.0, 3800.0, 4200.0, 5000.0, 6500.0, 8000.0, 9800.0),
    noise_sigma=(2.5, 1.6, 0.9, 0.65, 0.45, 0.45, 0.6),
)

# As deep as the population was compared with data (benchmarks/simulation_deep.py), whatever the
# images show beyond it. Mass function: Driver et al. (2022, MNRAS 513, 439), densities times
# 10^0.0769, their correction to the mean density of the SDSS and to z = 0. Baldry et al. (2012),
# which the SDSS population has, counts 0.13 dex fewer galaxies of 10^11.1 solar masses and 0.4 dex
# fewer of 10^11.4: of r < 19.5 there were 30 % too few, beyond z = 0.4 half.
_DEEP = PopulationConfig(
    r_limit=20.5,
    redshift_min=0.01,
    redshift_max=0.7,
    schechter_mass=10.745,
    schechter_phi1=4.36e-3,
    schechter_alpha1=-0.466,
    schechter_phi2=7.51e-4,
    schechter_alpha2=-1.530,
    evolution=EvolutionConfig(),
)


def _images(depth, fwhm, zero_point, exposure, pixel_scale, scatter):
    """Return the point spread functions and noise of coadded, resampled exposures.

    `depth` is the magnitude of point sources at 5 sigma, `fwhm` in arcsec, `zero_point` the
    magnitude of one photo-electron per second, `exposure` in s; one number per band. `scatter` is
    that of the natural logarithm of the sky noise.
    """
    nanomaggies_per_electron = 10 ** (0.4 * (22.5 - np.array(zero_point))) / np.array(exposure)
    return {
        "psf": PsfConfig(fwhm=fwhm, ellipticity_mean=0.0),
        "noise": NoiseConfig(
            sky_rms=sky_rms_of_depth(depth, fwhm, pixel_scale),
            sky_rms_scatter=(scatter,) * len(fwhm),
            electron=tuple(float(f"{value:.3g}") for value in nanomaggies_per_electron),
            resample=False,
        ),
    }


# SDSS Main Galaxy Sample (Strauss et al. 2002, AJ 124, 1810): r < 17.77, fibres of 3 arcsec. Its
# numbers are the defaults of the settings.
register_survey(Survey())

# Neighbours: the counts of `SceneConfig`, which go to r = 22.5, continued with the same slope to
# where the images end or, in deeper ones, to where light no longer matters beside r < 20.5.

# DESI Legacy Surveys, DECam part. Depth in g, r, z: two observations (24.7, 23.9, 23.0 by
# www.legacysurvey.org/dr10/description, "Depths"); times: about three of the passes of 87, 67 and
# 100 s (www.legacysurvey.org/decamls); seeing: Dey et al. (2019, AJ 157, 168, sect. 4). i, which
# data release 10 adds from other programmes: depth of Drlica-Wagner et al. (2022, ApJS 261, 38),
# seeing and time between r and z. Zero points: those that the survey's observers used
# (github.com/legacysurvey/obsbot, decam.py), i between r and z.
register_survey(
    Survey(
        name="desi_legacy",
        bands=("g", "r", "i", "z"),
        responses=("decam2014-g", "decam2014-r", "decam2014-i", "decam2014-z"),
        extinction=tuple(BAND_EXTINCTION["decam"][band] for band in "griz"),
        pixel_scale=0.262,
        size=64,
        population=_DEEP,
        scene=SceneConfig(galaxy_density=20.0, star_density=2.0, faint_limit=24.0),
        spectrograph=_DESI,
        **_images(
            depth=(24.65, 23.9, 23.5, 23.1),
            fwhm=(1.29, 1.18, 1.14, 1.11),
            zero_point=(26.61, 26.82, 26.76, 26.48),
            exposure=(250.0, 200.0, 250.0, 300.0),
            pixel_scale=0.262,
            scatter=0.2,
        ),
    )
)

# LSST after ten years. Depth, seeing, number of visits of 30 s: Ivezic et al. (2019, ApJ 873, 111,
# tables 1 and 2; the visits also in github.com/jfcrenshaw/photerr); zero points of
# smtn-002.lsst.io; extinction: Schlafly & Finkbeiner (2011, ApJ 737, 103, table 6). Spectra as
# DESI's.
register_survey(
    Survey(
        name="lsst",
        bands=tuple("ugrizy"),
        responses=tuple(f"lsst2023-{band}" for band in "ugrizy"),
        extinction=(4.145, 3.237, 2.273, 1.684, 1.323, 1.088),
        pixel_scale=0.2,
        size=96,
        population=_DEEP,
        scene=SceneConfig(galaxy_density=50.0, star_density=2.0, faint_limit=25.0),
        spectrograph=_DESI,
        **_images(
            depth=(26.1, 27.4, 27.5, 26.8, 26.1, 24.9),
            fwhm=(0.92, 0.87, 0.83, 0.80, 0.78, 0.76),
            zero_point=(26.52, 28.51, 28.36, 28.17, 27.78, 26.82),
            exposure=tuple(30.0 * n for n in (56, 80, 184, 184, 160, 160)),
            pixel_scale=0.2,
            scatter=0.1,
        ),
    )
)

# Hyper Suprime-Cam, Wide layer: depth, seeing and exposure times of the second data release
# (Aihara et al. 2019, PASJ 71, 114, table 2). Zero points: response curves times the 50 m2 of
# Subaru's mirror less its obstruction. Extinction: by the curve through the responses.
register_survey(
    Survey(
        name="hsc_wide",
        bands=tuple("grizy"),
        responses=("hsc2017-g", "hsc2017-r2", "hsc2017-i2", "hsc2017-z", "hsc2017-y"),
        pixel_scale=0.168,
        size=96,
        population=_DEEP,
        scene=SceneConfig(galaxy_density=50.0, star_density=2.0, faint_limit=25.0),
        spectrograph=_DESI,
        **_images(
            depth=(26.6, 26.2, 26.2, 25.3, 24.5),
            fwhm=(0.77, 0.76, 0.58, 0.68, 0.68),
            zero_point=(28.8, 28.9, 28.5, 27.6, 27.3),
            exposure=(600.0, 600.0, 1200.0, 1200.0, 1200.0),
            pixel_scale=0.168,
            scatter=0.1,
        ),
    )
)
