"""Any failure of a reader becomes one line."""

import pytest
from astropy.io.fits import VerifyError

from photospec.errors import InputError, PhotospecError
from photospec.utils.reading import one_line, reading


@pytest.mark.parametrize(
    "error",
    [
        ValueError("first\nsecond"),
        VerifyError("x" * 500),
        KeyError("BANDS"),
        AttributeError(),
        RecursionError("too deep"),
        ZeroDivisionError("division by zero"),
        OverflowError(),
        UnicodeDecodeError("ascii", b"\xff", 0, 1, "ordinal not in range"),
    ],
)
def test_any_exception_becomes_one_line(error):
    with pytest.raises(InputError, match=type(error).__name__) as caught, reading("a", "an image"):
        raise error
    text = str(caught.value)
    assert text.startswith("path: expected an image, got a whose")
    assert "\n" not in text
    assert len(text) < 250
    assert caught.value.__cause__ is None


def test_own_errors_and_interrupts_pass():
    with pytest.raises(PhotospecError, match="^unit: mine$"), reading("a", "an image"):
        raise InputError("unit: mine")
    with pytest.raises(KeyboardInterrupt), reading("a", "an image"):
        raise KeyboardInterrupt


def test_missing_files_and_memory_have_words_of_their_own():
    with pytest.raises(InputError, match="does not exist"), reading("a", "an image"):
        raise FileNotFoundError("a")
    with pytest.raises(InputError, match="^file: .*fits into memory"):
        with reading("a", "an image", argument="file"):
            raise MemoryError


def test_one_line():
    assert one_line(ValueError("a\nb")) == "a"
    assert one_line(ValueError("abc"), 2) == "ab"
    assert one_line(ValueError(" ")) == "ValueError"
