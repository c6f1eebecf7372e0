"""Files that are nearly right: each function makes one of them from sound ones.

A mutant is named by the room whose reader shall read it, a seed and a number, and is the same
every time. `ROOMS` maps a room to ``(make_sound, mutate, read)``.
"""

import gzip
import json
import struct
from pathlib import Path

import numpy as np

HUGE = (2**31, 2**40, 2**62, -1, 0)
# Integers of more than 4,300 digits are refused by Python itself, with ValueError.
NUMBERS = ("9" * 5000, "-1", "0", "nan", "inf", "1e400", "-1e400", "1e-400", "99999999999999999999")
BLOCK = 2880


def flip_bytes(data, rng):
    data = bytearray(data)
    for _ in range(rng.integers(1, 20)):
        data[rng.integers(len(data))] = rng.integers(256)
    return bytes(data)


def truncate(data, rng):
    return data[: rng.integers(len(data))]


def blank(data, rng):
    start, length = rng.integers(len(data)), rng.integers(1, 400)
    filling = bytes([rng.integers(256)])
    return data[:start] + filling * len(data[start : start + length]) + data[start + length :]


def repeat(data, rng):
    start, length = rng.integers(len(data)), rng.integers(1, 3000)
    return data[:start] + data[start : start + length] * 2 + data[start + length :]


def splice(data, rng):
    first, second = sorted(rng.integers(len(data), size=2))
    return data[:first] + data[second:]


def flip_head(data, rng):
    """Damage where formats keep what decides: the first bytes."""
    head = flip_bytes(data[:512], rng)
    return head + data[512:]


def anything(data, rng):
    data = rng.choice([flip_bytes, flip_head, truncate, blank, repeat, splice])(data, rng)
    return data


def change_number(text, rng):
    """Put another number where one stands in a text."""
    import re

    found = list(re.finditer(r"(?<![\w.])-?\d+\.?\d*(e-?\d+)?", text))
    if not found:
        return text
    match = found[rng.integers(len(found))]
    return text[: match.start()] + rng.choice(NUMBERS) + text[match.end() :]


# FITS -----------------------------------------------------------------------------------


def sound_image(folder):
    from astropy.io import fits

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:72, :72] - 36
    data = (50 * np.exp(-np.hypot(x, y) / 5) + rng.normal(0, 0.1, (5, 72, 72))).astype("f4")
    header = fits.Header(
        {
            "BUNIT": "nanomaggy", "BANDS": "ugriz",
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 180.0, "CRVAL2": 10.0,
            "CRPIX1": 36.5, "CRPIX2": 36.5, "CDELT1": -0.396 / 3600, "CDELT2": 0.396 / 3600,
            "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS",
        }
    )  # fmt: skip
    hdus = [fits.PrimaryHDU(data, header), fits.ImageHDU(np.full_like(data, 0.1), name="UNCERT")]
    hdus.append(fits.ImageHDU(np.zeros(data.shape, "u1"), name="MASK"))
    fits.HDUList(hdus).writeto(folder / "image.fits")


def sound_spectrum(folder):
    from astropy import units as u
    from astropy.io import fits
    from astropy.table import QTable

    import photospec.spectrum as ps

    rng = np.random.default_rng(0)
    wavelength = ps.WAVELENGTH[::4]
    flux = 10 + rng.normal(0, 1, wavelength.size)
    spectrum = ps.from_arrays(wavelength, flux, sigma=np.ones_like(flux))
    ps.write_spectra(folder / "ours.fits", spectrum)
    columns = [
        fits.Column("flux", "E", array=flux),
        fits.Column("loglam", "E", array=np.log10(wavelength)),
        fits.Column("ivar", "E", array=np.ones_like(flux)),
        fits.Column("wdisp", "E", array=np.ones_like(flux)),
        fits.Column("and_mask", "J", array=np.zeros(flux.size, int)),
    ]
    primary = fits.PrimaryHDU(header=fits.Header({"COEFF0": 3.6, "COEFF1": 1e-4}))
    table = fits.BinTableHDU.from_columns(columns, name="COADD")
    fits.HDUList([primary, table]).writeto(folder / "spec-0266-51602-0001.fits")
    table = QTable({"wavelength": wavelength * u.AA, "flux": flux * ps.FLUX_UNIT})
    table.write(folder / "text.ecsv")


def mutate_fits(path, rng):
    data = path.read_bytes()
    kind = rng.integers(6)
    if path.suffix == ".ecsv":
        text = data.decode()
        if kind == 0:
            return ("9" * 200_000).encode()  # one endless line
        return change_number(text, rng).encode() if kind < 3 else anything(data, rng)
    if kind == 0:  # another value on a card
        data = bytearray(data)
        cards = [
            i for i in range(0, min(len(data), 3 * BLOCK), 80) if data[i + 8 : i + 10] == b"= "
        ]
        start = cards[rng.integers(len(cards))]
        value = rng.choice([*NUMBERS[1:], "T", "'text'", "''", "2147483648", "-32", "'\x01\xff'"])
        data[start + 10 : start + 80] = value.encode("latin-1")[:70].rjust(20).ljust(70)
        return bytes(data)
    if kind == 1:  # a huge size declared
        card = rng.choice([b"NAXIS1  ", b"NAXIS2  ", b"NAXIS3  ", b"PCOUNT  ", b"TFIELDS "])
        at = data.find(card)
        size = str(rng.choice(HUGE)).encode().rjust(20)
        return data if at < 0 else data[: at + 10] + size + data[at + 30 :]
    if kind == 2:  # a packed bomb
        return gzip.compress(data + bytes(2**26), 1)
    if kind == 3:  # an extension whose name makes no sense
        at = data.find(b"EXTNAME")
        name = rng.choice([b"'\xff\xfe'", b"12", b"T", b"''", b"(1,2)"]).ljust(20)
        return data if at < 0 else data[: at + 10] + name + data[at + 30 :]
    return anything(data, rng)


# HDF5 -----------------------------------------------------------------------------------


def sound_pairs(folder):
    from photospec.pairs import PairsWriter

    rng = np.random.default_rng(0)
    wavelength = np.arange(4000.0, 4100.0)
    with PairsWriter(folder / "pairs.h5", "ugriz", 0.396, wavelength, {"seed": 0}) as writer:
        writer.append(
            rng.normal(1, 0.1, (4, 5, 16, 16)).astype("f4"),
            np.ones((4, 100), "f4"),
            np.ones((4, 100), "f4"),
            object={"redshift": np.full(4, 0.1), "name": np.array(["a", "b", "c", "d"])},
            truth={"age": np.ones(4)},
            truth_flux=np.ones((4, 100), "f4"),
        )


def mutate_pairs(path, rng):
    if rng.random() < 0.4:
        return anything(path.read_bytes(), rng)
    import h5py

    work = path.with_name("mutant.h5")
    work.write_bytes(path.read_bytes())
    odd = [
        np.float64(np.nan), np.int64(-1), np.int64(2**62), "text", b"\xff\xfe", np.zeros((2, 2)),
        np.complex128(1j), np.array([(1, 2.0)], [("a", int), ("b", float)]), h5py.Empty("f"),
        np.array([], "f4"), np.array(["ü"] * 3, h5py.string_dtype()), np.bool_(True), "{" * 5000,
        '{"a": ' * 2000,
    ]  # fmt: skip
    names = ["image", "spectrum/flux", "spectrum/ivar", "spectrum/wavelength", "object/redshift"]
    with h5py.File(work, "r+", locking=False) as file:
        for _ in range(rng.integers(1, 3)):
            kind, value = rng.integers(6), odd[rng.integers(len(odd))]
            if kind < 2:
                name = rng.choice(["format", "n_pairs", "bands", "pixel_scale", "provenance"])
                if rng.random() < 0.15:
                    file.attrs.pop(name, None)
                else:
                    file.attrs[name] = value
                continue
            name = str(rng.choice(names))
            if name in file:
                del file[name]
            if kind == 2:
                file[name] = value
            elif kind == 3:  # declared, never written: takes no room on disk
                sides = rng.choice([4, 2**20, 2**40], size=rng.integers(1, 4))
                chunks = tuple(int(min(side, 4)) for side in sides)
                file.create_dataset(name, tuple(map(int, sides)), "f4", chunks=chunks)
            elif kind == 4:
                file[name] = h5py.SoftLink(rng.choice(["/" + name, "/nowhere", "/object"]))
    data = work.read_bytes()
    work.unlink()
    return data


# Weights --------------------------------------------------------------------------------


def mutate_weights(path, rng):
    data = path.read_bytes()
    if path.suffix == ".toml":
        return _mutate_toml(data.decode(), rng).encode()
    if rng.random() < 0.5:
        return anything(data, rng)
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    names = [name for name in header if name != "__metadata__"]
    name = names[rng.integers(len(names))]
    kind = rng.integers(5)
    if kind == 0:
        header[name]["shape"] = [int(rng.choice(HUGE)) for _ in range(rng.integers(1, 4))]
    elif kind == 1:
        header[name]["dtype"] = str(rng.choice(["F64", "I8", "C64", "BOOL", "F8_E4M3", "X"]))
    elif kind == 2:
        header[name]["data_offsets"] = [0, int(rng.choice(HUGE))]
    elif kind == 3:
        header[name + ".more"] = header.pop(name)
    else:  # values that are no numbers
        start, stop = (8 + length + offset for offset in header[name]["data_offsets"])
        data = data[:start] + b"\xff" * (stop - start) + data[stop:]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _mutate_toml(text, rng):
    kind = rng.integers(6)
    if kind < 3:
        return change_number(text, rng)
    lines = text.splitlines()
    at = rng.integers(len(lines))
    if kind == 3:
        lines[at] = rng.choice(["[x]", "a = {b = 1}", "[[bands]]", "= 1", "x = " + "[" * 3000])
    elif kind == 4:
        lines.insert(at, lines[rng.integers(len(lines))])
    else:
        lines[at] = lines[at].replace("true", "1").replace('"', "").replace("[", "{")
    return "\n".join(lines)


# Settings -------------------------------------------------------------------------------

PUBLISHED = """
batch_size: 512
max_epochs: 1000
beta_schedule: cosine
spectrumunet:
  dim: 64
  dim_mults: [1, 2, 4, 8, 16]
optim:
  learning_rate: 1e-4
  lr_params: {power: 1, min_lr: 1e-6}
"""


def sound_settings(folder):
    from photospec.simulation import Survey

    Survey.sdss_main().write(folder / "survey.toml")
    (folder / "published.yaml").write_text(PUBLISHED)


def mutate_settings(path, rng):
    text = path.read_text()
    if path.suffix == ".toml":
        return _mutate_toml(text, rng).encode()
    kind = rng.integers(5)
    if kind == 0:  # each line names the one before nine times
        lines = ["a0: &a0 [x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
        return "\n".join(lines).encode()
    if kind == 1:
        return ("optim: " + "[" * 3000).encode()
    if kind == 2:
        return b"!!python/object/apply:os.system [true]\n" + text.encode()
    return (change_number(text, rng) if kind == 3 else text + "\x00").encode()


# Checkpoints ----------------------------------------------------------------------------


def sound_checkpoint(folder):
    import torch

    state = {"a.weight": torch.ones(4, 3), "a.bias": torch.zeros(4)}
    torch.save({"model": state, "average_model": state, "engine": {"epoch": 3}}, folder / "c.pt")


def mutate_checkpoint(path, rng):
    if rng.random() < 0.6:
        return anything(path.read_bytes(), rng)
    import io

    import torch

    odd = [
        torch.ones(3, 3).to_sparse(),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        torch.ones(3, device="meta"),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(()).expand(2**40),
        torch.full((3,), float("nan")),
        "text", None, 3, [torch.ones(2)], {},
    ]  # fmt: skip
    value = odd[rng.integers(len(odd))]
    content = [{"model": {"a.weight": value}}, {"a.weight": value}, {"model": value}, value]
    buffer = io.BytesIO()
    torch.save(content[rng.integers(4)], buffer)
    return buffer.getvalue()


def read(room, path, sound):
    """Read a mutant as a user would; what this raises is judged by the test."""
    if room == "image":
        from photospec.image import prepare_image, read_image

        prepare_image(read_image(path))
    elif room == "spectrum":
        from photospec.spectrum import read_spectrum, to_arrays

        to_arrays(read_spectrum(path))
    elif room == "pairs":
        from photospec.pairs import PairsFile

        with PairsFile(path) as pairs:
            len(pairs), pairs.object, pairs.truth, repr(pairs)
            if len(pairs):
                pairs.image(0), pairs.flux(0), pairs.ivar(0)
    elif room == "weights":
        from photospec import PhotoSpectrograph

        PhotoSpectrograph.load(path.parent)
    elif room == "settings" and path.suffix == ".toml":
        from photospec.simulation import Survey

        Survey.read(path)
    elif room == "settings":
        from photospec.published.settings import read_published

        read_published(path, "base")
    elif room == "checkpoint":
        from photospec.published.checkpoint import read_checkpoint

        read_checkpoint(path)


SOUND = {
    "image": sound_image,
    "spectrum": sound_spectrum,
    "pairs": sound_pairs,
    "settings": sound_settings,
    "checkpoint": sound_checkpoint,
}
MUTATE = {
    "image": mutate_fits,
    "spectrum": mutate_fits,
    "pairs": mutate_pairs,
    "weights": mutate_weights,
    "settings": mutate_settings,
    "checkpoint": mutate_checkpoint,
}


def make_mutant(room, seed, number, sound, folder):
    """Write mutant `number` of a room into `folder`; return the file to read."""
    rng = np.random.default_rng([seed, number])
    names = sorted(path.name for path in sound.iterdir())
    chosen = names[rng.integers(len(names))]
    if room == "weights":  # one bad file among good ones
        for name in names:
            (folder / name).write_bytes((sound / name).read_bytes())
    path = Path(folder) / chosen
    path.write_bytes(MUTATE[room](sound / chosen, rng))
    return path
