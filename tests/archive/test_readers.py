"""Readers of other archives, on files made here in their layouts."""

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from simulated_sky import Sky

from photospec.archive import DownloadConfig
from photospec.archive.desi import read_desi
from photospec.archive.legacy import legacy_image, read_legacy
from photospec.archive.multimodal import read_hats, read_multimodal
from photospec.archive.objects import ArchiveObject, join, write_objects
from photospec.errors import InputError
from photospec.image import prepare_image
from photospec.pairs import PairsFile
from photospec.photometry.apertures import aperture_flux
from photospec.spectrum import to_arrays

ARMS = {"B": (3600.0, 5800.0), "R": (5760.0, 7620.0), "Z": (7520.0, 9824.0)}
TARGETS = np.array([39628438587475113, 39628438587475001, 2305843009213693951])
LSF = 0.95  # Angstrom
LINES = np.array([5000.0, 5780.0, 7600.0])  # one in each overlap, too


def true_flux(wavelength, i):
    lines = sum(np.exp(-0.5 * ((wavelength - line) / 1.2) ** 2) for line in LINES)
    return (i + 1) * (1 + wavelength / 5000 + 20 * lines)


@pytest.fixture
def desi_files(tmp_path):
    rng = np.random.default_rng(3)
    fibermap = fits.BinTableHDU.from_columns(
        [
            fits.Column("TARGETID", "K", array=TARGETS),
            fits.Column("TARGET_RA", "D", array=[10.0, 11.0, 12.0]),
            fits.Column("TARGET_DEC", "D", array=[1.0, 2.0, 3.0]),
        ],
        name="FIBERMAP",
    )
    hdus = [fits.PrimaryHDU(), fibermap]
    for arm, (low, high) in ARMS.items():
        wavelength = np.arange(round(low / 0.8), round(high / 0.8) + 1) * 0.8
        noise = {"B": 0.5, "R": 0.1, "Z": 0.2}[arm]
        flux = np.array([true_flux(wavelength, i) for i in range(3)])
        flux += rng.normal(0, noise, flux.shape)
        mask = np.zeros(flux.shape, np.int32)
        mask[1, 100:110] = 4
        flux[mask != 0] = 1e4
        offset = np.arange(5, -6, -1)[:, None] * np.ones(wavelength.size)
        resolution = np.exp(-0.5 * (offset * 0.8 / LSF) ** 2)
        resolution /= resolution.sum(axis=0)
        for name, value in {
            "WAVELENGTH": wavelength,
            "FLUX": flux.astype(np.float32),
            "IVAR": np.full(flux.shape, noise**-2, np.float32),
            "MASK": mask,
            "RESOLUTION": np.array([resolution] * 3, dtype=np.float32),
        }.items():
            hdus.append(fits.ImageHDU(value, name=f"{arm}_{name}"))
    coadd = tmp_path / "coadd-sv3-bright-10016.fits"
    fits.HDUList(hdus).writeto(coadd)
    order = [2, 0, 1]  # redrock files may have their own order
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("TARGETID", "K", array=TARGETS[order]),
            fits.Column("Z", "D", array=np.array([0.11, 0.22, 0.33])[order]),
            fits.Column("ZWARN", "K", array=np.array([0, 4, 0])[order]),
        ],
        name="REDSHIFTS",
    )
    redrock = tmp_path / "redrock-sv3-bright-10016.fits"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(redrock)
    return coadd, redrock


def test_desi(desi_files):
    coadd, redrock = desi_files
    objects = list(read_desi(coadd, redshifts=redrock))
    assert [item.identifier for item in objects] == [str(target) for target in TARGETS]
    assert [item.redshift for item in objects] == [0.11, 0.22, 0.33]
    assert [item.columns["zwarn"] for item in objects] == [0, 4, 0]
    for i, item in enumerate(objects):
        arrays = to_arrays(item.spectrum)
        wavelength = arrays.wavelength
        np.testing.assert_allclose(np.diff(wavelength), 0.8, atol=1e-9)
        assert wavelength[[0, -1]] == pytest.approx([3600, 9824])
        good = ~arrays.mask[0]
        assert good.all() == (i != 1)
        pull = (arrays.flux[0] - true_flux(wavelength, i))[good] / arrays.sigma[0][good]
        assert np.std(pull) == pytest.approx(1, abs=0.05)
        assert abs(np.mean(pull)) < 0.06
        # Weights: where b and r overlap both count.
        both = np.argmin(abs(wavelength - 5780))
        assert arrays.sigma[0][both] == pytest.approx((0.5**-2 + 0.1**-2) ** -0.5)
        np.testing.assert_allclose(arrays.lsf, LSF, rtol=5e-3)


@pytest.mark.parametrize("mark", ["zero", "nan"])
def test_desi_dead_arm(desi_files, tmp_path, mark):
    """A dead arm says nothing: line-spread function and flux are those of the others."""
    coadd, _ = desi_files
    with fits.open(coadd) as hdus:
        for name in ("FLUX", "IVAR", "RESOLUTION"):
            hdus[f"R_{name}"].data[:] = 0
            if mark == "nan" and name != "IVAR":
                hdus[f"R_{name}"].data[:] = np.nan
        hdus.writeto(tmp_path / "dead.fits")
    for i, item in enumerate(read_desi(tmp_path / "dead.fits")):
        arrays = to_arrays(item.spectrum)
        np.testing.assert_allclose(arrays.lsf, LSF, rtol=5e-3)
        alive = (arrays.wavelength < 5800.1) | (arrays.wavelength > 7519.9)
        assert arrays.mask[0][~alive].all()
        good = ~arrays.mask[0]
        assert good[alive].mean() > 0.99
        pull = (arrays.flux[0] - true_flux(arrays.wavelength, i))[good] / arrays.sigma[0][good]
        assert np.std(pull) == pytest.approx(1, abs=0.06)


def test_desi_chosen_targets(desi_files):
    coadd, _ = desi_files
    (item,) = read_desi(coadd, identifiers=[TARGETS[1]])
    assert (item.identifier, item.ra) == (str(TARGETS[1]), 11.0)
    assert np.isnan(item.redshift)


@pytest.mark.parametrize("damage", ["none", "text", "short", "other"])
def test_desi_bad_files(desi_files, tmp_path, damage):
    path = tmp_path / "bad.fits"
    if damage == "text":
        path.write_text("<html>")
    elif damage == "short":
        path.write_bytes(desi_files[0].read_bytes()[:30000])
    elif damage == "other":
        fits.PrimaryHDU(np.zeros((3, 3))).writeto(path)
    with pytest.raises(InputError, match=r"path: expected a DESI coadd file, got .*bad.fits"):
        list(read_desi(path))


def legacy_bytes(tmp_path, size=64, invvar=False, blank=False, bands="griz"):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = (185.73, 8.15), (size / 2 + 0.5, size / 2 + 0.5)
    wcs.wcs.cd = np.diag([-0.262, 0.262]) / 3600
    yy, xx = np.mgrid[:size, :size] - (size - 1) / 2
    profile = np.exp(-(xx**2 + yy**2) / (2 * 5**2)) / (2 * np.pi * 25)
    data = np.array([flux * profile + 1e-6 for flux in (20.0, 50.0, 70.0, 90.0)])
    data[2, :, :5] = 0  # not observed
    if blank:
        data[:] = 0
    header = wcs.to_header()
    header["BANDS"], header["SURVEY"] = bands, "LegacySurvey"
    hdus = [fits.PrimaryHDU(data.astype(np.float32), header)]
    if invvar:
        hdus.append(fits.ImageHDU(np.where(data == 0, 0, 400.0).astype(np.float32)))
    path = tmp_path / "legacy.fits"
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path.read_bytes()


def test_legacy_image(serve, quick, tmp_path):
    body = legacy_bytes(tmp_path, invvar=True)
    sky = Sky.simulated(n_fields=1, n_per_field=1)
    sky.makers["/viewer/fits-cutout"] = lambda: body
    kinds = iter(["busy", "html", "truncated"])
    server, settings = serve(sky, fault_of=lambda path: next(kinds, None))
    config = DownloadConfig(**{k: v for k, v in settings.items() if k not in ("progress", "size")})
    url = server.url + "/viewer/fits-cutout"
    path = tmp_path / "kept.fits"
    image = legacy_image((185.73, 8.15), size=64, url=url, config=config, path=path)
    assert image.data.shape == (4, 64, 64)
    assert image.meta["bands"] == tuple("griz")
    assert image.meta["pixel_scale"].to_value(u.arcsec) == pytest.approx(0.262, rel=1e-4)
    assert image.mask[2, :, :5].all()
    assert not image.mask[[0, 1, 3]].any()
    array = prepare_image(image, bands="griz", size=40)
    flux = aperture_flux(array.data, 7.0, center=array.center)
    np.testing.assert_allclose(flux, [20, 50, 70, 90], rtol=5e-3)
    np.testing.assert_allclose(np.nanmedian(array.uncertainty), 0.05 * 0.396 / 0.262, rtol=0.6)
    assert server.log["/viewer/fits-cutout"]["ok"] == 1
    legacy_image((185.73, 8.15), size=64, url=url, config=config, path=path)
    assert server.log["/viewer/fits-cutout"]["ok"] == 1


@pytest.mark.parametrize("invvar", [True, False])
def test_legacy_maskbits(tmp_path, invvar):
    path = tmp_path / "bits.fits"
    path.write_bytes(legacy_bytes(tmp_path, invvar=invvar))
    bits = np.zeros((64, 64), np.int32)
    bits[10, 10] = 1 << 3  # saturated in r
    bits[11, 11] = 1 << 15  # bad in every exposure of i
    bits[12, 12] = (1 << 1) | (1 << 12)  # near a bright star, in a large galaxy: still data
    with fits.open(path, mode="append") as hdus:
        hdus.append(fits.ImageHDU(bits))
    image = read_legacy(path)
    assert image.mask[:, 10, 10].tolist() == [False, True, False, False]
    assert image.mask[:, 11, 11].tolist() == [False, False, True, False]
    assert not image.mask[:, 12, 12].any()
    assert (image.uncertainty is not None) == invvar


def test_legacy_bad_input(serve, tmp_path):
    with pytest.raises(InputError, match="size: expected 8 to 512"):
        legacy_image((1, 2), size=4000)
    path = tmp_path / "x.fits"
    path.write_bytes(legacy_bytes(tmp_path, blank=True))
    with pytest.raises(InputError, match="off the footprint"):
        read_legacy(path)
    path.write_bytes(legacy_bytes(tmp_path, bands="grz"))
    with pytest.raises(InputError, match="expected 3 bands"):
        read_legacy(path)
    path.write_text("<html><title>504 Gateway Time-out</title>")
    with pytest.raises(InputError, match=r"an HTML page \(504 Gateway Time-out\)"):
        read_legacy(path)


def multimodal_rows(n=3):
    """Rows of a data set with images and spectra, as plain arrays."""
    rng = np.random.default_rng(4)
    wavelength = 10 ** (3.58 + 1e-4 * np.arange(3900))
    wavelength = np.concatenate([wavelength, np.full(20, -1.0)])  # padding
    spectra = {
        "flux": np.array([10.0 + i + 0 * wavelength for i in range(n)], dtype=np.float32),
        "ivar": np.full((n, 3920), 4.0, np.float32),
        "mask": np.zeros((n, 3920), bool),
        "lambda": np.tile(wavelength, (n, 1)).astype(np.float32),
        "lsf_sigma": np.full((n, 3920), 1.1, np.float32),
    }
    spectra["mask"][0, 50:60] = True
    spectra["flux"][0, 50:60] = -1e6
    images = rng.normal(1, 0.1, (n, 5, 40, 40)).astype(np.float32)
    images[:, :, 20, 20] += 20
    identifiers = [f"{299489676975171584 + i}" for i in range(n)]
    return identifiers, spectra, images


@pytest.fixture
def multimodal_folder(tmp_path):
    identifiers, spectra, images = multimodal_rows()
    path = tmp_path / "sdss/healpix=583/001-of-001.hdf5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["object_id"] = np.array([i.encode() for i in identifiers])
        file["ra"], file["dec"] = [10.0, 11.0, 12.0], [1.0, 2.0, 3.0]
        file["Z"], file["VDISP"] = np.float32([0.06, 0.07, 0.08]), np.float32([100, 120, 140])
        for name, value in spectra.items():
            file[f"spectrum_{name}"] = value
        file["image_array"] = images
        file["image_band"] = np.array([[f"sdss-{b}".encode() for b in "ugriz"]] * 3)
        file["image_ivar"] = np.full(images.shape, 100.0, np.float32)
        file["image_mask"] = np.zeros((3, 40, 40), bool)
        file["image_scale"] = np.full((3, 5), 0.396)
    return tmp_path / "sdss"


@pytest.fixture
def hats_folder(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    identifiers, spectra, images = multimodal_rows()
    table = pa.table(
        {
            "object_id": identifiers,
            "ra": [10.0, 11.0, 12.0],
            "dec": [1.0, 2.0, 3.0],
            "Z": [0.06, 0.07, 0.08],
            "VDISP": [100.0, 120.0, 140.0],
            "spectrum": [
                {name: value[i].tolist() for name, value in spectra.items()} for i in range(3)
            ],
            "image": [
                [
                    {
                        "band": f"sdss-{band}",
                        "flux": images[i, j].tolist(),
                        "ivar": np.full((40, 40), 100.0).tolist(),
                        "mask": np.zeros((40, 40), bool).tolist(),
                        "scale": 0.396,
                    }
                    for j, band in enumerate("ugriz")
                ]
                for i in range(3)
            ],
        }
    )
    path = tmp_path / "mmu_sdss/dataset/Norder=1/Dir=0/Npix=7.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table, path)
    return tmp_path / "mmu_sdss"


@pytest.mark.parametrize("kind", ["hdf5", "hats"])
def test_multimodal_universe(kind, request):
    if kind == "hdf5":
        folder, read = request.getfixturevalue("multimodal_folder"), read_multimodal
    else:
        folder, read = request.getfixturevalue("hats_folder"), read_hats
    identifiers, _, images = multimodal_rows()
    objects = list(read(folder))
    assert [item.identifier for item in objects] == identifiers
    for i, item in enumerate(objects):
        assert (item.ra, item.dec) == (10.0 + i, 1.0 + i)
        assert item.redshift == pytest.approx(0.06 + 0.01 * i)
        assert item.columns["vdisp"] == 100 + 20 * i
        arrays = to_arrays(item.spectrum)
        assert arrays.wavelength.size == 3900
        assert arrays.mask.sum() == (10 if i == 0 else 0)
        assert arrays.sigma[0, 0] == pytest.approx(0.5)
        np.testing.assert_allclose(
            arrays.lsf, 1.1 * 1e-4 * np.log(10) * arrays.wavelength, rtol=3e-3
        )
        assert item.image.meta["bands"] == tuple("ugriz")
        np.testing.assert_allclose(item.image.data, images[i], rtol=1e-6)
        assert item.image.meta["pixel_scale"].to_value(u.arcsec) == pytest.approx(0.396)
    (one,) = read(folder, identifiers=[identifiers[2]])
    assert one.ra == 12.0


def test_multimodal_bad_input(tmp_path):
    with pytest.raises(InputError, match="expected a file or a folder of partitions"):
        list(read_multimodal(tmp_path))
    (tmp_path / "x.hdf5").write_text("no")
    with pytest.raises(InputError, match="expected a Multimodal Universe file"):
        list(read_multimodal(tmp_path))
    pytest.importorskip("pyarrow")
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(InputError, match="expected a HATS catalogue"):
        list(read_hats(tmp_path))


def test_objects_become_pairs_joined_by_identifier(multimodal_folder, tmp_path):
    objects = list(read_multimodal(multimodal_folder))
    images = [ArchiveObject(o.identifier, o.ra, o.dec, image=o.image) for o in reversed(objects)]
    spectra = [
        ArchiveObject(o.identifier, o.ra, o.dec, o.redshift, spectrum=o.spectrum, columns={"a": i})
        for i, o in enumerate(objects)
    ]
    stranger = ArchiveObject("1", 0, 0, image=objects[0].image)
    path = tmp_path / "pairs.h5"
    n_pairs, failures = write_objects(
        join([*images[1:], stranger], spectra), path, bands="ugriz", size=32
    )
    assert (n_pairs, failures) == (2, {})
    with PairsFile(path) as pairs:
        assert list(pairs.object["identifier"]) == [o.identifier for o in objects[:2]]
        assert list(pairs.object["a"]) == [0, 1]
        np.testing.assert_allclose(pairs.flux(1), 11.0, rtol=1e-5)
        np.testing.assert_allclose(pairs.image(0), objects[0].image.data[:, 4:36, 4:36])
    with pytest.raises(InputError, match="twice"):
        list(join([stranger, stranger], spectra))


def test_objects_without_image_are_told_or_given_one(multimodal_folder, tmp_path):
    objects = list(read_multimodal(multimodal_folder))
    bare = [ArchiveObject(o.identifier, o.ra, o.dec, spectrum=o.spectrum) for o in objects]
    path = tmp_path / "pairs.h5"
    n_pairs, failures = write_objects(bare, path, bands="ugriz", size=32)
    assert n_pairs == 0
    assert "got no image" in failures[bare[0].identifier]
    by_place = {o.ra: o.image for o in objects}
    n_pairs, failures = write_objects(
        bare, path, bands="gri", size=32, image=lambda item: by_place[item.ra], overwrite=True
    )
    assert (n_pairs, failures) == (3, {})
    assert PairsFile(path).bands == ("g", "r", "i")


def test_surveys_by_name():
    from photospec.archive import SURVEYS, legacy_image, register_survey, sdss_image, survey_image

    assert SURVEYS.get("sdss") is sdss_image
    assert SURVEYS.get("legacy") is legacy_image
    asked = []
    register_survey("mine", lambda coord, **options: asked.append((coord, options)))
    try:
        survey_image((1, 2), "mine", size=3)
        with pytest.raises(InputError, match="expected a new name, got 'mine'"):
            register_survey("mine", lambda coord: None)
    finally:
        del SURVEYS["mine"]
    assert asked == [((1, 2), {"size": 3})]
    with pytest.raises(InputError, match="survey: expected one of sdss, legacy, got 'mine'"):
        survey_image((1, 2), "mine")
