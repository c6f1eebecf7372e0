"""Columns that the catalogue query asks for, and the tables they come from.

The measurements of the MPA-JHU group (Kauffmann et al. 2003; Brinchmann et al. 2004;
Tremonti et al. 2004) come along for evaluation. They have their own tables and are asked for
one table at a time: the query travels in the address, and servers refuse addresses much
longer than 2000 characters.
"""

__all__ = ["ALIASES", "IDENTIFIERS", "MEASUREMENTS", "PHOTOMETRY", "kind_of"]

# name here -> (expression in SQL, kind)
IDENTIFIERS = {
    "specobjid": ("s.specObjID", "id"),
    "objid": ("p.objID", "id"),
    "plate": ("s.plate", "int"),
    "mjd": ("s.mjd", "int"),
    "fiberid": ("s.fiberID", "int"),
    "run2d": ("s.run2d", "str"),
    "run": ("p.run", "int"),
    "rerun": ("p.rerun", "int"),
    "camcol": ("p.camcol", "int"),
    "field": ("p.field", "int"),
    "ra": ("p.ra", "float"),
    "dec": ("p.dec", "float"),
    "redshift": ("s.z", "float"),
}

PHOTOMETRY = {
    "redshift_error": ("s.zErr", "float"),
    "velocity_dispersion": ("s.velDisp", "float"),
    "velocity_dispersion_error": ("s.velDispErr", "float"),
    "sn_median": ("s.snMedian", "float"),
    **{f"petro_mag_{band}": (f"p.petroMag_{band}", "float") for band in "ugriz"},
    **{f"model_mag_{band}": (f"p.modelMag_{band}", "float") for band in "ugriz"},
    **{f"extinction_{band}": (f"p.extinction_{band}", "float") for band in "ugriz"},
    "fiber_mag_r": ("p.fiberMag_r", "float"),
    "petro_r50_r": ("p.petroR50_r", "float"),
}

# fmt: off
_LINES = (
    "oii_3726", "oii_3729", "h_delta", "h_gamma", "h_beta", "oiii_4959", "oiii_5007",
    "oi_6300", "h_alpha", "nii_6548", "nii_6584", "sii_6717", "sii_6731",
)
_LICK = (
    "cn1", "cn2", "ca4227", "g4300", "fe4383", "ca4455", "fe4531", "c4668", "hb", "fe5015",
    "mg1", "mg2", "mgb", "fe5270", "fe5335", "fe5406", "fe5709", "fe5782", "nad", "tio1",
    "tio2", "hd_a", "hg_a", "hd_f", "hg_f",
)
# fmt: on
_ENDS = ("", "_err")


def _measured(alias, names, *, prefix="mpa_", kind="float"):
    return {prefix + name: (f"{alias}.{name}", kind) for name in names}


# One entry for each query. Lick indices are those with emission lines taken out ("_sub");
# equivalent widths have the sign of the tables: emission is negative.
MEASUREMENTS = {
    "line fluxes": _measured("l", [f"{line}_flux{end}" for line in _LINES for end in _ENDS]),
    "equivalent widths": _measured("l", [f"{line}_eqw{end}" for line in _LINES for end in _ENDS]),
    "indices": _measured("x", ["d4000_n", "d4000_n_err", *(f"lick_{i}_sub" for i in _LICK)]),
    # best_model_z is the stellar metallicity of the best of three: 0.2, 1 or 2.5 solar.
    "index errors": _measured(
        "x", [*(f"lick_{i}_sub_err" for i in _LICK), "best_model_z", "tauv_cont"]
    ),
    "derived": _measured(
        "e", [f"{name}_p{p}" for name in ("lgm_tot", "sfr_tot", "oh") for p in (16, 50, 84)]
    )
    | _measured("e", ["bptclass"], kind="int"),
    "reliability": _measured("i", ["reliable"], kind="int"),
}

ALIASES = {"l": "galSpecLine", "x": "galSpecIndx", "e": "galSpecExtra", "i": "galSpecInfo"}


def kind_of(name):
    """Return the kind of a column ("id", "int", "float", "str"); unknown ones are "float"."""
    tables = (IDENTIFIERS, PHOTOMETRY, *MEASUREMENTS.values())
    for table in tables:
        if name in table:
            return table[name][1]
    return "float"
