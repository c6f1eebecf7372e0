"""What files say of their spectra: units as people write them, air or vacuum, frame.

Headers are written by hand as often as by programs. Whatever is understood here is understood
for every kind of file; what contradicts itself is refused.
"""

import re
import warnings

from astropy import units as u

from photospec.errors import InputError

__all__ = [
    "FLUX_UNIT",
    "angstrom_for_ampere",
    "given_unit",
    "parse_unit",
    "spectral_frame",
    "wavelength_medium",
]

#: Unit of flux density in all arrays.
FLUX_UNIT = u.Unit(1e-17 * u.erg / (u.s * u.cm**2 * u.AA))

# Spellings that astropy does not know. "A" alone is ampere: see `angstrom_for_ampere`.
_SPELLINGS = (
    (re.compile(r"(?i)(?<![a-z])ang(?:s|str|stroms?)?\.?(?![a-z])"), "Angstrom"),
    (re.compile(r"(?i)(?<![a-z])microns?(?![a-z])"), "um"),
    (re.compile(r"(?i)(?<![a-z])nanomet(?:er|re)s?(?![a-z])"), "nm"),
    (re.compile(r"(?i)(?<![a-z])ergs?(?![a-z])"), "erg"),
    (re.compile(r"(?i)(?<![a-z])sec(?:onds?)?(?![a-z])"), "s"),
    (re.compile(r"(?i)(?<![a-z])counts?(?![a-z])"), "ct"),
    (re.compile(r"^10([-+]\d+)(?=\s)"), r"10**(\1)"),  # "10-17 erg/..."
    (re.compile(r"^([\d.]+)[dD]([-+]?\d+)"), r"\1e\2"),  # as Fortran writes numbers
    # Names of synphot (STScI).
    (re.compile(r"(?i)(?<![a-z])flam(?![a-z])"), "erg/(s cm2 Angstrom)"),
    (re.compile(r"(?i)(?<![a-z])fnu(?![a-z])"), "erg/(s cm2 Hz)"),
    (re.compile(r"(?i)(?<![a-z])photlam(?![a-z])"), "photon/(s cm2 Angstrom)"),
)
_LOGARITHM = re.compile(r"(?i)^\s*(?:log10|log|lg|dex)\s*[(\[]?\s*(.*?)\s*[)\]]?\s*$")
_NO_UNIT = {"", "none", "null", "n/a", "unitless", "dimensionless", "unknown"}


def parse_unit(text, what="unit"):
    """Turn the text of a BUNIT, CUNIT or TUNIT card into a unit.

    Parameters
    ----------
    text : str or None
        As it stands in the header.
    what : str
        Name of the card or column for the error.

    Returns
    -------
    astropy.units.UnitBase or None
        None where the card is missing or empty. Ampere in a flux density is read as
        Angstrom; the logarithm of a unit comes as `astropy.units.DexUnit`.

    Raises
    ------
    InputError
        If the text cannot be understood.

    Examples
    --------
    >>> from photospec.spectrum.headers import parse_unit
    >>> parse_unit("1E-17 erg/cm^2/s/Ang")
    Unit("1e-17 erg / (Angstrom s cm2)")
    >>> parse_unit("erg/s/cm2/A")
    Unit("erg / (Angstrom s cm2)")
    """
    text = "" if text is None else str(text).strip()
    if text.lower() in _NO_UNIT:
        return None
    logarithm = _LOGARITHM.match(text)
    if logarithm:
        return u.dex(parse_unit(logarithm[1], what) or u.AA)
    tidy = text
    for pattern, spelling in _SPELLINGS:
        tidy = pattern.sub(spelling, tidy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # slashes and numeric factors are bad style, not errors
        for attempt in (tidy, tidy.lower().replace("angstrom", "Angstrom")):
            try:
                unit = u.Unit(attempt)
                return u.AA if unit == u.A else angstrom_for_ampere(unit)
            except (ValueError, TypeError, AttributeError):
                continue
    raise InputError(
        f"{what}: expected a unit such as 'erg/(s cm2 Angstrom)', got {text[:60]!r}; "
        "is it misspelt?"
    )


def angstrom_for_ampere(unit):
    """Read ampere as Angstrom in a unit of flux density or its powers.

    ``A`` is ampere for astropy and for the FITS standard, but ``erg/s/cm2/A`` is per Angstrom.

    Parameters
    ----------
    unit : astropy.units.UnitBase

    Returns
    -------
    astropy.units.UnitBase
        The unit unchanged where it has no ampere, or would be no flux density without.

    Examples
    --------
    >>> from astropy import units as u
    >>> from photospec.spectrum.headers import angstrom_for_ampere
    >>> angstrom_for_ampere(u.erg / u.s / u.cm**2 / u.A)
    Unit("erg / (Angstrom s cm2)")
    """
    if u.A not in getattr(unit, "bases", ()):
        return unit
    changed = u.CompositeUnit(
        unit.scale, [u.AA if base is u.A else base for base in unit.bases], unit.powers
    )
    densities = (FLUX_UNIT, u.photon / (u.s * u.cm**2 * u.AA))
    if any(changed.is_equivalent(flux**power) for flux in densities for power in (1, 2, -2, -1)):
        return changed
    return unit


def given_unit(unit, kind, argument):
    """Check the unit that a caller gives for flux densities or the spectral axis.

    Parameters
    ----------
    unit : str, Unit or None
    kind : {"flux", "axis"}
    argument : str
        Name of the argument for the error.

    Returns
    -------
    astropy.units.UnitBase or None
        None where none is given.

    Raises
    ------
    InputError
        If it is no unit, or not one of that kind.

    Examples
    --------
    >>> from photospec.spectrum.headers import given_unit
    >>> given_unit("mJy", "flux", "flux_unit")
    Unit("mJy")
    """
    if unit is None:
        return None
    parsed = unit if isinstance(unit, u.UnitBase) else parse_unit(unit, argument)
    if kind == "flux":
        fits, expected = FLUX_UNIT, "a flux density such as erg/s/cm2/Angstrom or Jy"
        equivalent = u.spectral_density(1 * u.AA)
    else:
        fits, expected = u.AA, "a unit of wavelength, frequency or energy such as nm"
        equivalent = u.spectral()
    # Axes may be logarithms.
    physical = parsed.physical_unit if isinstance(parsed, u.DexUnit) else parsed
    if isinstance(physical, u.function.FunctionUnitBase) or not (
        physical is not None and physical.is_equivalent(fits, equivalent)
    ):
        raise InputError(f"{argument}: expected {expected}, got {str(unit)!r}")
    return parsed


# Cards whose value begins with "air" or "vac".
_MEDIUM_CARDS = ("AIRORVAC", "AIRVAC", "AIR_VAC", "VACORAIR", "WAVEMED", "WAVE_MED", "MEDIUM")


def wavelength_medium(header):
    """Tell from a header whether its wavelengths are in air or in vacuum.

    The clues are spectral axes or columns of type AWAV (FITS: Greisen et al. 2006, A&A 446,
    747), cards such as AIRORVAC, VACUUM, and the content descriptor ``obs.atmos`` of a column
    (ESO, IVOA). CTYPE = WAVE is weaker: much software writes it without asking.

    Parameters
    ----------
    header : mapping
        FITS header or dict with its cards.

    Returns
    -------
    str or None
        ``"air"``, ``"vacuum"``, or None where the header says nothing.

    Raises
    ------
    InputError
        If it says both.

    Examples
    --------
    >>> from photospec.spectrum.headers import wavelength_medium
    >>> wavelength_medium({"CTYPE1": "AWAV", "CUNIT1": "Angstrom"})
    'air'
    """
    said, weak = {}, None
    for key, value in header.items():
        key, text = str(key).upper(), str(value).strip().lower()
        if re.fullmatch(r"CTYPE\d+|TCTYP\d+", key):
            if text.startswith("awav"):
                said["air"] = f"{key} = {value}"
            elif text.startswith("wave"):
                weak = "vacuum"
        elif re.fullmatch(r"TUCD\d+", key) and text.startswith("em.wl") and "obs.atmos" in text:
            said["air"] = f"{key} = {value}"
        elif key in _MEDIUM_CARDS and text[:3] in ("air", "vac"):
            said["air" if text.startswith("air") else "vacuum"] = f"{key} = {value}"
        elif key == "VACUUM" and text in ("t", "true", "yes", "y", "1"):
            said["vacuum"] = f"VACUUM = {value}"
        elif key == "VACUUM" and text in ("f", "false", "no", "n", "0"):
            said["air"] = f"VACUUM = {value}"
    if len(said) == 2:
        raise InputError(
            f"header: expected wavelengths in air or in vacuum, got both ({said['air']}, "
            f"{said['vacuum']}); was it converted without the other card being changed?"
        )
    return next(iter(said), weak)


_FRAMES = {
    "TOPOCENT": "topocentric",
    "GEOCENTR": "geocentric",
    "BARYCENT": "barycentric",
    "HELIOCEN": "heliocentric",
    "LSRK": "local standard of rest",
    "LSRD": "local standard of rest",
    "GALACTOC": "galactocentric",
    "LOCALGRP": "Local Group",
    "CMBDIPOL": "cosmic microwave background",
    "SOURCE": "source",
}


def spectral_frame(header):
    """Tell from a header in which frame its wavelengths are.

    Parameters
    ----------
    header : mapping
        FITS header or dict with its cards: SPECSYS, or HELIO, HELIO_RV (SDSS, LAMOST),
        VEL_TYPE (PypeIt).

    Returns
    -------
    str or None
        Such as ``"barycentric"``, ``"heliocentric"``, ``"topocentric"``; None where it is not said.

    Examples
    --------
    >>> from photospec.spectrum.headers import spectral_frame
    >>> spectral_frame({"SPECSYS": "BARYCENT"})
    'barycentric'
    """
    frame = _FRAMES.get(str(header.get("SPECSYS", "")).strip().upper()[:8])
    if frame:
        return frame
    said = str(header.get("VEL_TYPE", "")).strip().lower()
    if said in _FRAMES.values():
        return said
    if "HELIO_RV" in header or str(header.get("HELIO", "")).strip().lower() in ("t", "true", "1"):
        return "heliocentric"
    return None
