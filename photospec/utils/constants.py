"""Constants of nature as plain numbers, from astropy, in the units of the arrays inside."""

from astropy import constants
from astropy.stats import gaussian_sigma_to_fwhm

__all__ = ["FWHM", "SPEED_OF_LIGHT"]

#: Speed of light, km/s.
SPEED_OF_LIGHT = constants.c.to_value("km/s")
#: Full width at half maximum of a Gaussian, in standard deviations.
FWHM = gaussian_sigma_to_fwhm
