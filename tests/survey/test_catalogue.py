"""Catalogues in and out, without a cluster: columns, sources, rows that cannot be used."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData
from astropy.table import Table

from photospec.errors import InputError
from photospec.image import NANOMAGGY
from photospec.survey import SurveySettings, open_catalogue, predict_catalogue, predict_partition
from photospec.survey.columns import OF_ALL_CANDIDATES, new_columns, rounded
from photospec.survey.positions import own_place, position_in_name

from .conftest import pixels

N_FILES = 6


def rows(catalog):
    """All rows of a catalogue by identifier, whatever the partitions."""
    return catalog.compute(progress_bar=False).sort_values("image").reset_index(drop=True)


def assert_same(a, b):
    assert list(a["image"]) == list(b["image"])
    for name in a.columns:
        if name in ("spectra", "redshift_mixture"):
            for one, two in zip(a[name], b[name], strict=True):
                assert (one is None) == (two is None)
                if one is not None:
                    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(two))
        elif a[name].dtype == a["redshift_mean"].dtype:
            np.testing.assert_array_equal(np.asarray(a[name], float), np.asarray(b[name], float))
        else:
            assert list(a[name]) == list(b[name])


@pytest.fixture(scope="module")
def opened(pairs_path):
    return open_catalogue(pairs_path, partition_rows=25)


@pytest.fixture(scope="module")
def predicted(opened, spectrograph):
    import dask

    with dask.config.set(scheduler="synchronous"):
        return rows(predict_catalogue(opened.catalog, spectrograph, source=opened.source))


def test_rows_are_what_predict_gives(predicted, spectrograph, pairs_path):
    """The catalogue holds what one gets image by image, to the last bit."""
    from photospec.pairs import PairsFile

    with PairsFile(pairs_path) as pairs:
        data = pairs.image([3, 7])
    for row, pixels_of in zip((3, 7), data, strict=True):
        meta = {"bands": tuple("ugriz"), "pixel_scale": 0.396 * u.arcsec, "galactic_ebv": 0.03}
        image = NDData(pixels_of, unit=NANOMAGGY, meta=meta | {"identifier": f"g{row:05d}"})
        found = predicted.iloc[row]
        spectrum = spectrograph.predict(image)
        assert found["similarity"] == spectrum.meta["similarity"]
        assert found["redshift_drawn"] == spectrum.meta["drawn_redshift"]
        assert found["flags"] == "; ".join(spectrum.meta["flags"])
        flux = np.asarray(found["spectra"]["flux"])
        wanted = spectrum.flux.to_value(1e-17 * u.Unit("erg / (s cm2 Angstrom)"))
        assert np.abs(flux / wanted - 1).max() < 1e-3
        density = spectrograph.redshift_density(image)
        assert found["redshift_mean"] == pytest.approx(density.mean[0], rel=1e-12)
        assert found["redshift_mode"] == density.mode[0]
        assert found["redshift_q16"] == pytest.approx(density.quantile(0.1587)[0], rel=1e-12)
        assert list(found["redshift_mixture"]["weight"]) == density.weight[0].tolist()


def test_partitions_change_no_bits(pairs_path, predicted, spectrograph):
    other = open_catalogue(pairs_path, partition_rows=7)
    assert other.catalog.npartitions > 8
    found = predict_catalogue(other.catalog, spectrograph, source=other.source)
    assert_same(rows(found), predicted)


def test_lazy_catalogue_goes_on(opened, spectrograph, predicted):
    found = predict_catalogue(opened.catalog, spectrograph, source=opened.source, what="photoz")
    middle = float(predicted["redshift_mean"].median())
    some = found.query(f"redshift_mean > {middle}").compute(progress_bar=False)
    assert 0 < len(some) < len(predicted)
    assert "spectra" not in some.columns


def test_by_hand_in_map_partitions(opened, spectrograph):
    found = opened.catalog.map_partitions(
        predict_partition, spectrograph, opened.source, what="photoz"
    )
    some = found.partitions[0].compute(progress_bar=False)
    assert some["redshift_mean"].between(0, 0.6).all()


def test_measured_columns(opened, pairs_path):
    """Properties are those of measuring the candidates by hand."""
    from photospec import PhotoSpectrograph
    from photospec.analysis import measure_candidates
    from photospec.survey.sources import PairsSource

    bundled = PhotoSpectrograph.load()
    part = opened.catalog.partitions[0].compute(progress_bar=False).iloc[:1]
    found = predict_partition(part, bundled, opened.source, what="measure", n_candidates=2)
    image = PairsSource(str(pairs_path)).read({"source_row": part["source_row"].iloc[0]})
    image.meta |= {"identifier": part["image"].iloc[0], "galactic_ebv": 0.03}
    candidates = bundled.sample(image, 2)
    table = measure_candidates(candidates.spectra, candidates.best_index)
    row = found.iloc[0]
    n_finite = 0
    for name in ("redshift", "halpha_flux", "halpha_flux_error", "dn4000", "dn4000_error", "ebv"):
        wanted = table[name][0]
        value = row[name.replace("redshift", "redshift_spectrum")]
        if getattr(wanted, "mask", False):
            assert np.isnan(value)
            continue
        n_finite += 1
        assert value == float(getattr(wanted, "value", wanted))
    assert n_finite
    assert row["agn_score"] == table["agn_score"][0] == bundled.agn_score(image)
    assert row["agn_probability"] == table["agn_probability"][0]
    assert row["agn"] is bool(table["agn"][0])
    assert pd.isna(row["bpt_class_probability"])  # of two candidates there is none
    assert set(str(table["flags"][0]).split("; ")) <= set(row["flags"].split("; "))
    empty = predict_partition(part.iloc[:0], bundled, opened.source, what="measure")
    assert list(empty.columns) == list(found.columns)
    assert (empty.dtypes == found.dtypes).all()
    described = {c.name: c for c in new_columns(SurveySettings(what="measure"))}
    assert all(described[name].description for name in OF_ALL_CANDIDATES)
    assert set(OF_ALL_CANDIDATES) <= set(table.colnames)


def test_without_a_head_the_lines_tell(opened, pairs_path):
    """Of weights without a head for classes the score is the height of the candidates' lines."""
    from photospec import PhotoSpectrograph

    bundled = PhotoSpectrograph.load()
    bundled.cascade.line_classes = None
    part = opened.catalog.partitions[0].compute(progress_bar=False).iloc[:1]
    found = predict_partition(part, bundled, opened.source, what="measure", n_candidates=2)
    row = found.iloc[0]
    assert np.isnan(row["agn_score"])  # of two candidates there is no mean
    assert pd.isna(row["agn"])
    assert np.isnan(row["agn_probability"])


def write_cutout(path, data, **cards):
    hdu = fits.PrimaryHDU(data)
    hdu.header.update({"BANDS": "u,g,r,i,z", "BUNIT": "nanomaggy", "PIXSCALE": 0.396, **cards})
    hdu.writeto(path)


@pytest.fixture
def folder(tmp_path):
    """Cutouts, some of which cannot be used."""
    place = tmp_path / "cutouts"
    place.mkdir()
    for i, data in enumerate(pixels(N_FILES)):
        write_cutout(place / f"good{i}.fits", data, RA_OBJ=150.0 + i, DEC_OBJ=2.0)
    (place / "J101112.5+023000_broken.fits").write_bytes(b"SIMPLE  =                    T" * 9)
    write_cutout(place / "dark.fits", np.full((5, 64, 64), np.nan, np.float32))
    return place


def test_bad_files_keep_their_rows(folder, spectrograph):
    opened = open_catalogue(folder)
    found = rows(predict_catalogue(opened.catalog, spectrograph, source=opened.source))
    assert len(found) == N_FILES + 2
    found = found.set_index("image")
    for name in ("dark.fits", "J101112.5+023000_broken.fits"):
        row = found.loc[name]
        assert row["flags"].startswith("unusable: ")
        assert np.isnan(row["redshift_mean"])
        assert np.isnan(row["similarity"])
    row = found.loc["J101112.5+023000_broken.fits"]
    assert row["ra"] == pytest.approx(152.802083, abs=1e-5)
    assert row["dec"] == pytest.approx(2.5)
    row = found.loc["dark.fits"]
    assert (row["ra"], row["dec"]) == own_place("dark.fits")
    assert "no_position" in row["flags"]
    assert found.loc["good3.fits"]["ra"] == 153.0
    assert "unusable" not in found.loc["good3.fits"]["flags"]


def test_missing_files_of_a_table(folder, spectrograph, tmp_path):
    table = Table({"RA": [1.0, 2.0], "dec": [3.0, 4.0], "image": ["good0.fits", "gone.fits"]})
    table.write(tmp_path / "t.ecsv")
    opened = open_catalogue(folder, positions=tmp_path / "t.ecsv")
    found = predict_catalogue(opened.catalog, spectrograph, source=opened.source, what="photoz")
    found = rows(found).set_index("image")
    assert "gone.fits" in found.loc["gone.fits"]["flags"]
    assert np.isfinite(found.loc["good0.fits"]["redshift_mean"])


@pytest.fixture
def parquet(tmp_path):
    """Parquet with images in a column, whose unit, bands and scale are in its metadata."""
    data = 3.631 * pixels(4)[:, [2, 0, 1, 3, 4]]
    field = pa.field(
        "stamp",
        pa.list_(pa.float32(), 5 * 64 * 64),
        metadata={"bands": "rugiz", "unit": "uJy", "pixel_scale": "0.396"},
    )
    flat = pa.FixedSizeListArray.from_arrays(pa.array(data.ravel()), 5 * 64 * 64)
    schema = pa.schema([("objid", pa.int64()), ("ra", pa.float64()), ("dec", pa.float64()), field])
    columns = [pa.array([11, 12, 13, 14]), pa.array([1.0, 2, 3, 4]), pa.array([0.0] * 4), flat]
    path = tmp_path / "images.parquet"
    pq.write_table(pa.table(columns, schema=schema), path, row_group_size=3)
    return path


def test_parquet_with_images(parquet, spectrograph, tmp_path):
    opened = open_catalogue(parquet, images="stamp")
    assert opened.identifier == "objid"
    predicted = predict_catalogue(
        opened.catalog, spectrograph, source=opened.source, identifier="objid"
    )
    found = rows(predicted)
    assert list(found["image"]) == ["11", "12", "13", "14"]
    meta = {"bands": tuple("ugriz"), "pixel_scale": 0.396 * u.arcsec, "identifier": 13}
    image = NDData(pixels(4)[2], unit=NANOMAGGY, meta=meta)
    assert found["redshift_drawn"][2] == pytest.approx(
        spectrograph.predict(image).meta["drawn_redshift"], abs=1e-4
    )


def test_hats_with_images(parquet, spectrograph, tmp_path):
    import lsdb

    frame = pq.read_table(parquet).to_pandas(types_mapper=pd.ArrowDtype)
    frame["extra"] = [5, 6, 7, 8]
    lsdb.from_dataframe(frame, margin_threshold=None).write_catalog(
        tmp_path / "hats", catalog_name="hats", progress_bar=False, default_columns=["objid"]
    )
    told = {"bands": "rugiz", "unit": "uJy", "pixel_scale": 0.396}
    opened = open_catalogue(tmp_path / "hats", images="stamp", **told)
    predicted = predict_catalogue(
        opened.catalog, spectrograph, source=opened.source, identifier="objid", keep=("extra",)
    )
    found = rows(predicted)
    assert list(found["extra"]) == [5, 6, 7, 8]
    assert "stamp" not in found.columns
    assert "unusable" not in " ".join(found["flags"])


def test_image_columns_of_any_nesting():
    from photospec.survey import ImageColumn

    data = pixels(1)[0]
    source = ImageColumn(unit="nJy")
    for value in (data.ravel(), data, data.tolist(), data.ravel().tolist()):
        image = source.read({"pixels": value})
        np.testing.assert_array_equal(image.data, data)
        assert image.unit == u.nJy
    flat = ImageColumn(shape=(5, 32, 128)).read({"pixels": data.ravel()})
    assert flat.data.shape == (5, 32, 128)
    for value, message in (
        (None, "pixels: expected pixels, got none"),
        (data.ravel()[:-1], "pixels: expected 5 x 64 x 64 pixels, got 20479"),
    ):
        with pytest.raises(InputError, match=message):
            source.read({"pixels": value})


def test_structures_of_the_multimodal_universe():
    from photospec.survey import ImageColumn

    data = pixels(1)[0]
    ivar = np.full_like(data, 4.0)
    ivar[0, 0, 0] = 0
    bands = [f"DES-{band.upper()}" for band in "ugriz"]
    lists = {"flux": data.tolist(), "ivar": ivar.tolist(), "band": bands, "scale": [0.262] * 5}
    for value in (lists, pd.DataFrame(lists)):
        image = ImageColumn().read({"pixels": value})
        assert image.meta["bands"] == tuple("ugriz")
        assert image.meta["pixel_scale"] == 0.262 * u.arcsec
        np.testing.assert_array_equal(image.data.ravel()[1:], data.ravel()[1:])
        assert image.mask.sum() == 1
        assert image.uncertainty.array[1, 1, 1] == 4
    with pytest.raises(InputError, match="pixels: expected flux and band in it, got x"):
        ImageColumn().read({"pixels": {"x": 1}})


def test_refusals(opened, parquet, spectrograph, tmp_path):
    with pytest.raises(InputError, match="which is not there"):
        open_catalogue(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="which has none of them"):
        open_catalogue(tmp_path / "empty")
    with pytest.raises(InputError, match="expected a column 'pixels' of images"):
        open_catalogue(parquet)
    with pytest.raises(InputError, match=r"identifier: expected a column of .* got 'no'"):
        open_catalogue(parquet, images="stamp", identifier="no")
    with pytest.raises(InputError, match="expected columns extra, got"):
        predict_catalogue(opened.catalog, spectrograph, source=opened.source, keep=("extra",))
    table = Table({"ra": [1.0, 2.0], "dec": [3.0, 4.0], "image": ["a", "a"]})
    table.write(tmp_path / "t.ecsv")
    with pytest.raises(InputError, match="identifiers: expected each once, got 'a'"):
        open_catalogue(tmp_path / "empty", positions=tmp_path / "t.ecsv")
    Table({"x": [1.0]}).write(tmp_path / "x.ecsv")
    with pytest.raises(InputError, match="positions: expected ra and dec"):
        open_catalogue(tmp_path / "empty", positions=tmp_path / "x.ecsv")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="expected Parquet, got"):
        open_catalogue(tmp_path / "bad.parquet")
    for options, message in (
        ({"what": "all"}, "what: expected one of photoz"),
        ({"spectra": "some"}, "spectra: expected one of none"),
        ({"what": "photoz", "spectra": "best"}, "which draws no spectra"),
        ({"precision": 1.0}, "precision: expected"),
    ):
        with pytest.raises(InputError, match=message):
            SurveySettings(**options)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"unit": "parsec"}, "unit: expected a flux unit such as nanomaggy"),
        ({"bands": "grzY"}, "bands: expected u, g, r, i, z, got g, r, z, Y: no u, i"),
    ],
)
def test_columns_of_which_no_image_can_be_used(parquet, spectrograph, told, message):
    """Told before any work, not row by row."""
    opened = open_catalogue(parquet, images="stamp", **told)
    with pytest.raises(InputError, match=message):
        predict_catalogue(opened.catalog, spectrograph, source=opened.source, identifier="objid")


def test_weights_without_redshifts(opened, tiny_weights):
    from photospec import PhotoSpectrograph

    made = PhotoSpectrograph.load(tiny_weights)
    with pytest.raises(InputError, match="weights that draw no redshifts"):
        predict_catalogue(opened.catalog, made, source=opened.source, what="photoz")


def test_rounded_keeps_its_promise():
    rng = np.random.default_rng(0)
    flux = (10 ** rng.uniform(-20, 20, 10_000) * rng.choice([-1, 1], 10_000)).astype(np.float32)
    for precision in (1e-2, 1e-3, 1e-5):
        kept = rounded(flux, precision)
        worst = np.abs(kept.astype(float) / flux - 1).max()
        assert precision / 4 < worst <= precision
        zeros = kept.view(np.uint32) & np.uint32(0xFF) == 0
        assert zeros.all() or precision < 1e-4
    np.testing.assert_array_equal(rounded(flux, 0), flux)
    assert np.isnan(rounded([np.nan], 1e-3)).all()


@pytest.mark.parametrize(
    ("name", "ra", "dec"),
    [
        ("J000000.00-100000.0.fits", 0, -10),
        ("cut_J123000.5+001530.fits", 187.502083, 0.258333),
        ("150.1234_-2.3456.fits", 150.1234, -2.3456),
        ("150.1234+2.3456.fits", 150.1234, 2.3456),
        ("galaxy-12.fits", np.nan, np.nan),
    ],
)
def test_positions_in_names(name, ra, dec):
    np.testing.assert_allclose(position_in_name(name), (ra, dec), atol=1e-5)


def test_positions_on_frames(shared, tmp_path, spectrograph):
    """../shared/real/fields: each position finds its field, whatever the order."""
    from photospec.cli._images import sources_at
    from photospec.image import read_image
    from photospec.image.wcs import header_wcs

    fields = sorted((shared / "real" / "fields").iterdir())[:2]
    place, wanted = tmp_path / "frames", {}
    for field in fields:
        (place / field.name).mkdir(parents=True)
        for path in field.glob("frame-*"):
            (place / field.name / path.name).symlink_to(path)
            if path.name.startswith("frame-r"):
                wcs = header_wcs(fits.getheader(path))
                wanted[field.name] = [float(x) for x in wcs.all_pix2world([[900, 700]], 0)[0]]
    table = Table({"image": [*wanted, "nowhere"]})
    table["ra"] = [*(p[0] for p in wanted.values()), 10.0]
    table["dec"] = [*(p[1] for p in wanted.values()), -80.0]
    table.write(tmp_path / "t.ecsv")
    sources = sources_at([place], tmp_path / "t.ecsv")
    assert [source.name for source in sources] == [*wanted, "nowhere"]
    assert [source.paths[0].parent.name for source in sources[:2]] == list(wanted)
    opened = open_catalogue(place, positions=tmp_path / "t.ecsv")
    frame = opened.catalog.compute(progress_bar=False).set_index("image")
    with pytest.raises(InputError, match="which is on none"):
        opened.source.read(dict(frame.loc["nowhere"]))
    name, field = next(iter(wanted)), fields[0]
    image = opened.source.read(dict(frame.loc[name]))
    np.testing.assert_array_equal(
        image.data, read_image(place / field.name, position=wanted[name]).data
    )
