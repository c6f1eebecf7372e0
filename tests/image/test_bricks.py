"""Bricks and cutouts of the Legacy Surveys, in files laid out as published ones."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from photospec.archive import read_legacy
from photospec.cli._images import image_sources, sources_at
from photospec.errors import InputError
from photospec.image import read_image
from photospec.image.bricks import NORTH, brick_of, camera_at
from photospec.survey.catalogue import open_catalogue

BRICK, CENTRE, SIZE = "1857p082", (185.73, 8.15), 300
SIGMA = {"g": 0.004, "r": 0.008, "i": 0.012, "z": 0.02}


def wcs_of(size, centre=CENTRE):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = centre, (size / 2 + 0.5, size / 2 + 0.5)
    wcs.wcs.cd = np.diag([-0.262, 0.262]) / 3600
    return wcs


def pixels(band):
    rng = np.random.default_rng("griz".index(band))
    data = rng.normal(0, SIGMA[band], (SIZE, SIZE))
    data[:, :20] = 0  # not observed
    return data.astype(np.float32)


def write_brick(
    folder, bands="griz", *, brick=BRICK, centre=CENTRE, invvar=True, bits=True, **more
):
    """Files as the pipeline of the surveys writes them; cards of the images in `more`."""
    folder.mkdir(parents=True, exist_ok=True)
    header = wcs_of(SIZE, centre).to_header()
    header["BRICK"], header["SURVEY"] = brick, "DECaLS"

    def write(kind, data, cards, **options):
        hdu = fits.CompImageHDU(data, fits.Header(header, copy=True), **options)
        hdu.header.update(cards)
        path = folder / f"legacysurvey-{brick}-{kind}.fits.fz"
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)

    for band in bands:
        data = pixels(band)
        cards = {"IMTYPE": "image", "FILTERX": band, "BUNIT": "nanomaggy", "MAGZERO": 22.5} | more
        lossy = {"compression_type": "RICE_1", "tile_shape": (100, 100)}
        image = {"quantize_method": 2, "quantize_level": -1e-4, "dither_seed": -1}
        write(f"image-{band}", data, cards, name=f"IMAGE_{band}", **lossy, **image)
        if invvar:
            weight = np.where(data == 0, 0, SIGMA[band] ** -2).astype(np.float32)
            cards = {"IMTYPE": "invvar", "FILTERX": band, "BUNIT": "1/nanomaggy^2"}
            lossy |= {"quantize_method": -1, "quantize_level": 16}
            write(f"invvar-{band}", weight, cards, name=f"INVVAR_{band}", **lossy)
    if bits:
        mask = np.zeros((SIZE, SIZE), np.int16)
        mask[150, 150] = 1 << 3  # saturated in r
        mask[151, 151] = 1 << 7  # bad in every exposure of z
        mask[152, 152] = (1 << 1) | (1 << 12)  # near a bright star, in a large galaxy
        compressed = {"compression_type": "HCOMPRESS_1", "tile_shape": (100, 100)}
        write("maskbits", mask, {"IMTYPE": "maskbits"}, name="MASKBITS", **compressed)
    # What else lies there.
    (folder / f"legacysurvey-{brick}-model-g.fits.fz").write_bytes(b"none of our business")
    for kind in ("psfsize", "depth"):
        lossless = {"compression_type": "GZIP_1", "quantize_level": 0.0}
        width = np.full((SIZE, SIZE), 1.2, np.float32)
        write(f"{kind}-g", width, {"IMTYPE": kind}, name=f"{kind.upper()}_g", **lossless)
    return folder


def test_a_galaxy_of_a_brick(tmp_path):
    folder = write_brick(tmp_path / "coadd")
    position = tuple(map(float, wcs_of(SIZE).pixel_to_world_values(150, 150)))
    image = read_image(folder, position=position, size=64)
    assert image.meta["bands"] == tuple("griz")
    assert image.meta["camera"] == "decam"
    box = slice(150 - 32, 150 + 32)
    for data, mask, band in zip(image.data, image.mask, "griz", strict=True):
        np.testing.assert_allclose(data[~mask], pixels(band)[box, box][~mask], atol=1e-4)
    sigma = np.median(image.uncertainty.array, axis=(1, 2))
    np.testing.assert_allclose(sigma, list(SIGMA.values()), rtol=1e-3)
    assert np.argwhere(image.mask).tolist() == [[1, 32, 32], [3, 33, 33]]
    again = read_legacy(folder, position=position, size=64)
    np.testing.assert_array_equal(again.data, image.data)
    # The position that its pixels say.
    np.testing.assert_allclose(image.wcs.world_to_pixel_values(*position), 32, atol=1e-6)


def test_at_the_edge_and_where_nothing_was_observed(tmp_path):
    folder = write_brick(tmp_path)
    position = tuple(map(float, wcs_of(SIZE).pixel_to_world_values(30, 299)))
    image = read_image(folder, position=position, size=40)
    assert image.mask[:, :, :10].all()  # columns 10 to 19 are zero
    assert image.mask[:, 22:].all()  # rows from 300 on are off the brick
    assert not image.mask[:, :20, 10:].any()
    away = tuple(map(float, wcs_of(SIZE).pixel_to_world_values(5, 150)))
    with pytest.raises(InputError, match="expected a place that was observed"):
        read_image(folder, position=away, size=10)
    with pytest.raises(InputError, match="is it another field"):
        read_image(folder, position=(10.0, 10.0))


def test_bands_and_files_that_are_there(tmp_path):
    folder = write_brick(tmp_path, "zrg", invvar=False, bits=False)
    image = read_image(folder, position=CENTRE)
    assert image.meta["bands"] == tuple("grz")
    assert image.uncertainty is None
    assert image.mask is None
    one = folder / f"legacysurvey-{BRICK}-image-r.fits.fz"
    assert read_image(one, position=CENTRE).meta["bands"] == ("r",)
    assert read_image(folder, position=CENTRE, bands="zg").meta["bands"] == ("z", "g")
    with pytest.raises(InputError, match="got none of i"):
        read_image(folder, position=CENTRE, bands="gri")
    with pytest.raises(InputError, match=f"target in the brick {BRICK}, got none"):
        read_image(folder)
    data = one.read_bytes()
    one.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="is the download incomplete"):
        read_image(folder, position=CENTRE)


def test_files_that_do_not_belong_together(tmp_path):
    write_brick(tmp_path, "gr")
    other = write_brick(tmp_path / "b", "z", brick="1858p082", centre=(185.9, 8.15))
    paths = [*tmp_path.glob("*image-g*"), *other.glob("*image-z*")]
    with pytest.raises(InputError, match="one brick, got some of 1857p082, 1858p082"):
        read_image(paths, position=CENTRE)
    write_brick(tmp_path, "z", centre=(185.7301, 8.15))
    with pytest.raises(InputError, match=r"one pixel grid, got .*z\.fits\.fz"):
        read_image(tmp_path, position=CENTRE)


def test_where_the_filters_are_others(tmp_path):
    assert camera_at(185.73, 8.15) == "decam"
    assert camera_at(200.0, 50.0) == NORTH
    assert camera_at(30.0, 33.0) == "decam"  # south of the Galactic plane
    folder = write_brick(tmp_path, INSTRUME="90prime")
    assert read_image(folder, position=CENTRE).meta["camera"] == "90prime"


def test_names():
    assert brick_of("a/legacysurvey-0001m002-invvar-z.fits.fz") == "0001m002"
    assert brick_of("legacysurvey-0001m002-maskbits.fits.fz") == "0001m002"
    for other in ("model-z", "psfsize-z", "depth-g", "ccds", "nexp-r"):
        assert brick_of(f"legacysurvey-0001m002-{other}.fits.fz") is None
    assert brick_of("frame-r-001000-1-0027.fits") is None


def test_the_command_line_and_surveys_find_bricks(tmp_path):
    write_brick(tmp_path / "a", "grz")
    write_brick(tmp_path / "b", "grz", brick="1858p082", centre=(185.76, 8.15))
    [source] = image_sources([tmp_path / "a"], *CENTRE)
    assert source.name == BRICK
    assert source.read().meta["bands"] == tuple("grz")
    with pytest.raises(InputError, match="is a whole brick; say which galaxy"):
        image_sources([tmp_path / "a"])
    table = tmp_path / "positions.csv"
    rows = [("one", *CENTRE), ("two", 185.76, 8.151), ("off", 185.9, 8.15)]
    Table(rows=rows, names=["image", "ra", "dec"]).write(table)
    sources = sources_at([tmp_path], table)
    assert [source.paths[0].parent.name for source in sources[:2]] == ["a", "b"]
    assert [source.read().data.shape for source in sources[:2]] == [(3, 96, 96)] * 2
    with pytest.raises(InputError, match="is it another field"):
        sources[2].read()
    catalogue = open_catalogue(tmp_path, positions=table)
    row = {"ra": 185.76, "dec": 8.151}
    assert catalogue.source.read(row).meta["bands"] == tuple("grz")


@pytest.mark.parametrize("invvar", [True, False])
def test_cutouts_of_the_service(tmp_path, invvar):
    """They say no unit, and are read alike by either name."""
    header = wcs_of(64).to_header()
    header["SURVEY"], header["BANDS"], header["IMAGETYP"] = "LegacySurvey", "grz", "IMAGE"
    data = np.stack([pixels(band)[:64, 100:164] for band in "grz"])
    data[2, :, :5] = 0
    hdus = [fits.PrimaryHDU(data, header)]
    if invvar:
        weight = np.where(data == 0, 0, 1e4).astype(np.float32)
        hdus.append(fits.ImageHDU(weight, fits.Header(header, copy=True)))
        hdus[-1].header["IMAGETYP"] = "INVVAR"
    bits = np.zeros((64, 64), np.int16)
    bits[10, 11] = 1 << 6  # bad in every exposure of r
    hdus.append(fits.ImageHDU(bits, fits.Header(header, copy=True)))
    hdus[-1].header["IMAGETYP"] = "MASKBITS"
    path = tmp_path / "cutout.fits"
    fits.HDUList(hdus).writeto(path)
    image, legacy = read_image(path), read_legacy(path)
    for found in (image, legacy):
        np.testing.assert_array_equal(found.data, data)
        assert str(found.unit) == "nmgy"
        assert found.meta["camera"] == "decam"
        assert np.argwhere(found.mask[:2]).tolist() == [[1, 10, 11]]
        assert found.mask[2, :, :5].all()
        assert not found.mask[2, :, 5:].any()
        assert (found.uncertainty is not None) == invvar
    if invvar:
        np.testing.assert_allclose(image.uncertainty.array[0], 0.01, rtol=1e-6)


def test_cutouts_of_other_shapes(tmp_path):
    """One band, compressed, off the footprint, and the pieces that "subimage" gives."""
    header = wcs_of(64).to_header()
    header["SURVEY"], header["BANDS"] = "LegacySurvey", "r"
    data, path = pixels("r")[:64, 100:164], tmp_path / "cutout.fits"
    weight, bits = np.full_like(data, 1e4), np.zeros((64, 64), np.int16)
    bits[10, 11] = 1 << 3  # saturated

    def write(hdus, kinds=("IMAGE", "INVVAR", "MASKBITS"), **cards):
        for hdu, kind in zip(hdus, kinds, strict=True):
            hdu.header.update(header)
            hdu.header.update({"IMAGETYP": kind} | cards)
        empty = [fits.PrimaryHDU()] if isinstance(hdus[0], fits.CompImageHDU) else []
        fits.HDUList([*empty, *hdus]).writeto(path, overwrite=True)

    plain = [fits.PrimaryHDU(data), fits.ImageHDU(weight), fits.ImageHDU(bits)]
    lossless = {"compression_type": "GZIP_1", "quantize_level": 0.0}
    packed = [fits.CompImageHDU(part, **lossless) for part in (data, weight, bits)]
    for hdus in (plain, packed):
        write(hdus)
        for found in (read_image(path), read_legacy(path)):
            np.testing.assert_array_equal(found.data, data[None])
            assert found.meta["bands"] == ("r",)
            assert np.argwhere(found.mask).tolist() == [[0, 10, 11]]
            assert found.uncertainty is not None
    write([fits.PrimaryHDU()], ["IMAGE"], OVERLAP=False)
    with pytest.raises(InputError, match=r"got none in cutout\.fits; off the footprint"):
        read_legacy(path)
    write(
        [fits.PrimaryHDU(data), fits.ImageHDU(weight)], ["image", "invvar"], BRICK_X0=3, BANDS="gr"
    )
    with pytest.raises(InputError, match="was it asked for with subimage"):
        read_legacy(path)
