"""Constants of nature as plain numbers, from astropy, in the units of the arrays inside."""

from astropy import constants

__all__ = ["SPEED_OF_LIGHT"]

#: Speed of light, km/s.
SPEED_OF_LIGHT = constants.c.to_value("km/s")
