import bz2
import gzip

import numpy as np
import pytest
from astropy.io import fits

import photospec.utils.fits
from photospec.errors import InputError, PhotospecError
from photospec.utils.conf import conf
from photospec.utils.fits import open_fits
from photospec.utils.reading import check_size, one_line, reading, unpack


@pytest.mark.parametrize(
    "error", [KeyError("x"), MemoryError(), RecursionError("deep"), OverflowError(), OSError(5)]
)
def test_whatever_is_raised_becomes_one_line(error):
    with pytest.raises(InputError) as caught, reading("x.fits", "a FITS file"):
        raise error
    assert str(caught.value).startswith("path: expected a FITS file")
    assert "x.fits" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_of_photospec_and_interrupts_pass():
    for error in (PhotospecError("ours"), KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(error)) as caught, reading("x.fits", "a FITS file"):
            raise error
        assert caught.value is error


def test_control_characters_do_not_reach_the_terminal():
    assert one_line(ValueError("a\x1b[2Jb\nsecond")) == "a?[2Jb"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_unpacking_is_bounded(pack):
    data = bytes(range(256)) * 40
    assert unpack(pack(data), "x") == data
    assert unpack(pack(data) + pack(b"more"), "x") == data + b"more"
    assert unpack(pack(data) + b"\0" * 64, "x") == data
    with pytest.raises(EOFError):
        unpack(pack(data)[:-12], "x")
    with conf.set_temp("max_bytes", 10_000), pytest.raises(InputError, match="unpacked data of x"):
        unpack(pack(bytes(10_000_000)), "x")
    with conf.set_temp("max_bytes", len(data)):
        assert unpack(pack(data), "x") == data


def test_what_is_not_packed_stays():
    assert unpack(b"SIMPLE", "x") == b"SIMPLE"


def test_sizes_are_limited():
    check_size(2**20, "the image", "x")
    for size in (2**40, -1):
        with pytest.raises(InputError, match="for the image of x"):
            check_size(size, "the image", "x")


def test_what_follows_the_last_header_is_not_searched_for_another(tmp_path, monkeypatch):
    """Gigabytes of zeros behind a file took minutes."""
    fits.HDUList([
        fits.PrimaryHDU(), fits.CompImageHDU(np.ones((40, 50), "f4"), name="SCI"),
        fits.ImageHDU(np.zeros((2, 2880)), name="ZEROS"),
    ]).writeto(tmp_path / "a.fits")  # fmt: skip
    whole = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "b.fits").write_bytes(whole + bytes(2880 * 20))
    monkeypatch.setattr(photospec.utils.fits, "LONGEST_HEADER", 2880 * 10)
    found = open_fits(tmp_path / "b.fits")
    assert [hdu.name for hdu in found] == ["PRIMARY", "SCI", "ZEROS"]
    assert found["SCI"].data.shape == (40, 50)
    (tmp_path / "c.fits").write_bytes(whole[:80] + b" " * 2880 * 11)
    with pytest.raises(InputError, match="a header without end"):
        open_fits(tmp_path / "c.fits")


@pytest.mark.parametrize("name", ["NAXIS", "TFIELDS"])
def test_more_axes_than_fits_has(tmp_path, name):
    """A list of two billion took a minute and 16 GiB."""
    column = fits.Column("a", "E", array=[1.0])
    fits.BinTableHDU.from_columns([column], name="T").writeto(tmp_path / "a.fits")
    content = (tmp_path / "a.fits").read_bytes()
    at = content.rfind(name.ljust(8).encode() + b"=")
    huge = content[: at + 10] + b"2147483648".rjust(20) + content[at + 30 :]
    (tmp_path / "b.fits").write_bytes(huge)
    with pytest.raises(InputError, match=f"{name} is more than 999"):
        open_fits(tmp_path / "b.fits")
