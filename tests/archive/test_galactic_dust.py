"""E(B-V) of the Milky Way from catalogues and maps."""

import sys
from types import ModuleType

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData
from astropy.table import Table

from photospec.archive.galactic_dust import ebv_from_extinction, galactic_ebv_at
from photospec.archive.objects import ArchiveObject, write_objects
from photospec.dust import band_extinction
from photospec.errors import InputError
from photospec.pairs import PairsFile
from photospec.spectrum import from_arrays


def test_extinctions_of_old_and_new_releases():
    new = 0.08 * band_extinction("ugriz")
    old = 0.08 * np.array([5.155, 3.793, 2.751, 2.086, 1.479])
    missing = np.full(5, np.nan)
    found = ebv_from_extinction([new, old, 0 * new, missing, -new])
    np.testing.assert_allclose(found[:3], [0.08, 0.08, 0.0], rtol=1e-6)
    assert np.isnan(found[3:]).all()
    # as catalogues round them
    assert ebv_from_extinction(np.round(old, 3)) == pytest.approx(0.08, abs=2e-4)


def test_extinctions_of_real_galaxies(shared):
    table = Table.read(shared / "real" / "catalogues" / "manga_nsa_morphology.fits")
    extinction = np.stack([np.asarray(table[f"nsa_extinction_{b}"], float) for b in "ugriz"], 1)
    found = ebv_from_extinction(extinction)
    # the other column is of a map read at another time
    assert np.median(np.abs(found - table["ebvgal"])) < 1e-3


@pytest.fixture
def maps(monkeypatch):
    """Stand-ins for both readers of the map, and which of them finds it."""
    monkeypatch.setitem(sys.modules, "dustmaps", None)
    monkeypatch.setitem(sys.modules, "dustmaps.sfd", None)
    monkeypatch.setitem(sys.modules, "sfdmap2", None)
    monkeypatch.setitem(sys.modules, "sfdmap2.sfdmap", None)

    def install(name, found=True):
        if name == "dustmaps":

            class SFDQuery:
                def __init__(self):
                    if not found:
                        raise FileNotFoundError("SFD map not found")

                def __call__(self, coord):
                    return np.asarray(coord.ra.deg / 1000)

            module = ModuleType("dustmaps.sfd")
            module.SFDQuery = SFDQuery
            monkeypatch.setitem(sys.modules, "dustmaps", ModuleType("dustmaps"))
            monkeypatch.setitem(sys.modules, "dustmaps.sfd", module)
            return

        class SFDMap:
            def __init__(self, scaling):
                assert scaling == 1.0  # the scale of the map, not the recalibrated one

            def ebv(self, ra, dec):
                return np.asarray(ra) / 2000

        module = ModuleType("sfdmap2.sfdmap")
        module.SFDMap = SFDMap
        monkeypatch.setitem(sys.modules, "sfdmap2", ModuleType("sfdmap2"))
        monkeypatch.setitem(sys.modules, "sfdmap2.sfdmap", module)

    return install


def test_whichever_map_is_there(maps):
    with pytest.raises(InputError, match=r"expected a dust map, got none.*neither package"):
        galactic_ebv_at(10.0, 0.0)
    maps("dustmaps", found=False)
    with pytest.raises(InputError, match="dustmaps: SFD map not found"):
        galactic_ebv_at(10.0, 0.0)
    maps("sfdmap2")
    assert galactic_ebv_at(10.0, 0.0) == pytest.approx(0.005)
    maps("dustmaps")
    assert galactic_ebv_at(10.0, 0.0) == pytest.approx(0.01)
    np.testing.assert_allclose(galactic_ebv_at([10.0, 20.0], [0.0, 5.0]), [0.01, 0.02])
    with pytest.raises(InputError, match="expected degrees"):
        galactic_ebv_at(10.0, 95.0)


def test_pairs_hold_images_as_observed(tmp_path):
    y, x = np.mgrid[:48, :48] - 24
    data = np.random.default_rng(0).normal(0, 0.01, (5, 48, 48)) + np.exp(-np.hypot(x, y) / 3)
    spectrum = from_arrays(np.arange(3900.0, 8600.0), np.ones(4700), sigma=np.full(4700, 0.1))

    def item(name, **dust):
        meta = {"bands": "ugriz", "pixel_scale": 0.396 * u.arcsec, **dust}
        return ArchiveObject(name, 10.0, 5.0, 0.1, NDData(data, unit="nmgy", meta=meta), spectrum)

    path = tmp_path / "pairs.h5"
    n, failures = write_objects(
        [item("known", galactic_ebv=0.2), item("unknown")], path, bands="ugriz", size=32
    )
    assert (n, failures) == (2, {})
    with PairsFile(path) as file:
        np.testing.assert_allclose(file.image(0), file.image(1), rtol=1e-5)
        ebv = np.asarray(file.object["galactic_ebv"], float)
    assert ebv[0] == 0.2
    assert np.isnan(ebv[1])
