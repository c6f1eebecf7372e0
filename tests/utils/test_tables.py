"""Tables as files of five formats, for this and for other programs."""

import os
import shutil
import subprocess
import warnings
from io import BytesIO

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from photospec.errors import InputError
from photospec.utils.tables import TABLE_FORMATS, plain_table, write_table

LINE_FLUX = u.Unit("1e-17 erg / (s cm2)")


@pytest.fixture
def table():
    made = QTable({"file": ["a.fits", "b.fits"]}, meta={"seed": 3, "redshift_range": [0.0, 0.8]})
    made.meta["weights"] = "/a/long/path" * 10
    for name, unit in (("age", u.Gyr), ("metallicity", u.dex), ("line", LINE_FLUX), ("mag", u.mag)):
        made[name] = Masked([1.5, np.nan] * unit, mask=[False, True])
    made["redshift"] = MaskedColumn([0.1, np.nan], mask=[False, True], format=".4f")
    made["broad"] = MaskedColumn([True, False], mask=[False, True])
    made["class"] = MaskedColumn(["AGN", ""], mask=[False, True])
    made["n"] = [3, 4]
    for name in made.colnames:
        made[name].info.description = f"what {name} is"
    return made


def read(path):
    options = {"format": "ascii.csv"} if path.suffix == ".csv" else {}
    if path.suffix == ".fits":
        options["character_as_bytes"] = False
    with warnings.catch_warnings():
        if path.suffix == ".vot":  # astropy finds Angstrom and erg deprecated there
            warnings.simplefilter("ignore", category=u.UnitsWarning)
        return QTable.read(path, **options)


@pytest.mark.parametrize("suffix", TABLE_FORMATS)
def test_every_format_is_read_back_without_a_warning(suffix, table, tmp_path):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"table{suffix}"
    write_table(path, table)
    assert list(tmp_path.iterdir()) == [path]
    back = read(path)
    assert back.colnames == table.colnames
    assert list(back["file"]) == ["a.fits", "b.fits"]
    for name in ("age", "metallicity", "line", "mag", "redshift"):
        column = back[name]
        assert float(getattr(column[0], "value", column[0])) == (0.1 if name == "redshift" else 1.5)
        missing = np.ma.is_masked(column[1]) or bool(getattr(column, "mask", [0, 0])[1])
        assert missing or np.isnan(column[1]), name
        if suffix != ".csv" and name != "redshift":
            assert isinstance(column, u.Quantity), name
            # The standard of VOTable has no dex: astropy keeps it as a name.
            assert str(column.unit) == str(table[name].unit), name
    if suffix != ".csv":
        assert [back[n].info.description for n in back.colnames] == [
            f"what {name} is" for name in table.colnames
        ]
    assert back["class"][0] == "AGN"
    assert back["broad"][0] in (True, "True")
    assert list(back["n"]) == [3, 4]


@pytest.mark.parametrize("suffix", [".ecsv", ".fits", ".vot"])
def test_metadata_say_version_weights_seed_and_date(suffix, table, tmp_path):
    path = tmp_path / f"table{suffix}"
    write_table(path, table)
    if suffix == ".vot":
        text = path.read_text()
        for name in ("version", "weights", "seed", "date"):
            assert f'name="{name}"' in text
        return
    meta = {key.lower(): value for key, value in Table.read(path).meta.items()}
    assert meta["version"].startswith("photospec ")
    assert meta["weights"] == table.meta["weights"]
    assert meta["seed"] == 3
    assert len(meta["date"]) == len("2026-01-01T00:00:00")


def test_parquet_has_the_columns_of_the_table_and_describes_them_as_votable(table, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    from astropy.io.votable import parse

    path = tmp_path / "table.parquet"
    write_table(path, table)
    schema = parquet.read_schema(path)
    # Only masked truth values need a column for their mask.
    assert [name for name in schema.names if name != "broad.mask"] == table.colnames
    assert np.isnan(parquet.read_table(path)["age"][1].as_py())
    assert schema.metadata[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    content = BytesIO(schema.metadata[b"IVOA.VOTable-Parquet.content"])
    described = parse(content).get_first_table()
    assert [field.name for field in described.fields] == schema.names
    found = {field.name: field for field in described.fields}
    assert (str(found["age"].unit), found["age"].description) == ("Gyr", "what age is")
    assert found["broad.mask"].description == "true where broad has no value"
    assert len(described.array) == 0
    assert b'name="seed" value="3"' in content.getvalue()


def test_cards_of_long_names_say_what_they_are(table, tmp_path):
    write_table(tmp_path / "t.fits", table)
    header = fits.getheader(tmp_path / "t.fits", 1)
    assert "REDSHIFT" not in header  # of a galaxy, one would think
    assert (header["Z_RANGE"], header.comments["Z_RANGE"]) == ("0.0 0.8", "redshift_range")
    assert not header.comments["SEED"]


def test_ecsv_has_one_line_of_header_for_a_column(table, tmp_path):
    write_table(tmp_path / "t.ecsv", table)
    lines = (tmp_path / "t.ecsv").read_text().splitlines()
    head = [line for line in lines if line.startswith("#")]
    assert len(head) < len(table.colnames) + 15
    assert not any("MaskedQuantity" in line for line in head)


def test_files_are_kept_unless_told_and_endings_known(table, tmp_path):
    write_table(tmp_path / "t.csv", table)
    with pytest.raises(InputError, match="which exists"):
        write_table(tmp_path / "t.csv", table)
    write_table(tmp_path / "t.csv", table, overwrite=True)
    with pytest.raises(InputError, match=r"expected a name ending in \.ecsv"):
        write_table(tmp_path / "t.xlsx", table)


def test_the_table_itself_is_not_changed(table, tmp_path):
    before = dict(table.meta)
    plain = plain_table(table)
    assert isinstance(plain["age"], MaskedColumn)
    assert plain["redshift"].format == ".4f"
    write_table(tmp_path / "t.fits", table)
    assert table.meta == before
    assert isinstance(table["age"], u.Quantity)


@pytest.mark.skipif(not shutil.which("fitsverify"), reason="the program fitsverify is not here")
def test_fitsverify_finds_nothing(table, tmp_path):
    write_table(tmp_path / "t.fits", table)
    command = ["fitsverify", "-q", str(tmp_path / "t.fits")]
    found = subprocess.run(command, capture_output=True, text=True)
    assert "OK" in found.stdout, found.stdout


@pytest.mark.skipif(not shutil.which("stilts"), reason="the program STILTS is not here")
@pytest.mark.parametrize("suffix", [".ecsv", ".fits", ".vot", ".csv"])
def test_stilts_reads_units_and_descriptions(suffix, table, tmp_path):
    path = tmp_path / f"t{suffix}"
    write_table(path, table)
    kind = {".vot": "votable"}.get(suffix, suffix[1:])
    command = ["stilts", "tpipe", f"in={path}", f"ifmt={kind}", "ofmt=csv", "omode=out"]
    found = subprocess.run(
        [*command, "cmd=meta name units description"], capture_output=True, text=True
    )
    if "Unknown format" in found.stderr:
        pytest.skip(f"this STILTS comes without its reader of {suffix}")
    assert found.returncode == 0, found.stderr
    rows = {line.split(",")[0]: line for line in found.stdout.splitlines()}
    assert set(table.colnames) <= set(rows)
    if suffix != ".csv":
        assert "Gyr" in rows["age"]
        assert "dex" in rows["metallicity"]
        assert "what age is" in rows["age"]


def test_missing_folders_are_named(table, tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write_table(tmp_path / "no" / "t.ecsv", table)
    assert not os.listdir(tmp_path)
