"""An index finds what it holds, and refuses what it cannot compare."""

import json
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData
from safetensors.numpy import save_file

from photospec import PhotoSpectrograph
from photospec.cli import main
from photospec.errors import InputError, MissingPackageError
from photospec.search import EmbeddingIndex
from photospec.spectrum import WAVELENGTH, from_arrays


@pytest.fixture(scope="module")
def spectrograph(tiny_weights):
    return PhotoSpectrograph.load(tiny_weights)


@pytest.fixture(scope="module")
def images(make_galaxies):
    meta = {"bands": "ugriz", "pixel_scale": 0.396 * u.arcsec, "galactic_ebv": 0.0}
    data = make_galaxies(12)[0]
    return [
        NDData(one, unit=u.nmgy, meta=meta | {"identifier": f"galaxy {i}"})
        for i, one in enumerate(data)
    ]


def vectors(n, size=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)


def test_each_image_finds_itself(spectrograph, images):
    index = EmbeddingIndex.build(spectrograph, iter(images))
    found = index.query(images, n=3, spectrograph=spectrograph)
    assert found.identifier[:, 0].tolist() == [f"galaxy {i}" for i in range(12)]
    np.testing.assert_allclose(found.similarity[:, 0], 1, atol=1e-5)
    one = index.query(images[4], n=1, spectrograph=spectrograph)
    assert one.row.tolist() == [[4]]
    table = found.to_table([f"query {i}" for i in range(12)])
    assert len(table) == 36
    assert table["rank"][:3].tolist() == [1, 2, 3]


def test_spectra_and_images_share_a_space(spectrograph, images):
    spectra = spectrograph.predict(images[:5], n_candidates=1)
    index = EmbeddingIndex.build(spectrograph, spectra)
    assert len(index) == 5
    found = index.query(images, n=5, spectrograph=spectrograph)
    wanted = np.sort(spectrograph.similarity(images, spectra), axis=1)[:, ::-1]
    np.testing.assert_allclose(found.similarity, wanted, atol=1e-5)


def test_exact_search_is_sorted_and_full():
    index = EmbeddingIndex(vectors(500), range(500), "image")
    queries = vectors(300, seed=1)
    found = index.query(queries, n=7)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    similarity = unit @ index.vectors.T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(found.row, order)
    assert index.query(queries[:1], n=1000).row.shape == (1, 500)


def test_of_equal_ones_the_first():
    index = EmbeddingIndex(np.ones((40, 3)), range(40), "image")
    assert index.query([[1.0, 1.0, 1.0]], n=40).row[0].tolist() == list(range(40))


def test_faiss_finds_nearly_the_same():
    pytest.importorskip("faiss")
    index = EmbeddingIndex(vectors(2000), range(2000), "image")
    queries = vectors(50, seed=1)
    exact = index.query(queries, n=10)
    fast = index.query(queries, n=10, method="faiss")
    shared = [len(set(a) & set(b)) for a, b in zip(exact.row, fast.row, strict=True)]
    assert np.mean(shared) > 9
    np.testing.assert_allclose(fast.similarity[:, 0], exact.similarity[:, 0], atol=0.05)


def test_faiss_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    index = EmbeddingIndex(vectors(5), range(5), "image")
    with pytest.raises(MissingPackageError, match=r'pip install "photospec\[search\]"'):
        index.query(vectors(1), method="faiss")


def test_saved_and_loaded(spectrograph, images, tmp_path):
    path = tmp_path / "index.safetensors"
    index = EmbeddingIndex.build(spectrograph, images, identifiers=[f"名 {i}" for i in range(12)])
    index.save(path)
    again = EmbeddingIndex.load(path)
    assert (again.kind, again.identifiers.tolist()) == ("image", index.identifiers.tolist())
    np.testing.assert_array_equal(again.vectors, index.vectors)
    found = again.query(images[3], n=1, spectrograph=spectrograph)
    assert found.identifier.tolist() == [["名 3"]]
    assert [p.name for p in tmp_path.iterdir()] == ["index.safetensors"]


def test_other_weights_are_refused(spectrograph, images):
    index = EmbeddingIndex.build(spectrograph, images)
    with pytest.raises(InputError, match="spectrograph: expected the weights that made the index"):
        index.query(images[0], spectrograph=PhotoSpectrograph.load())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"what": [[1.0, 2.0]]}, "what: expected embeddings of 8 numbers, got 2"),
        ({"what": [[np.nan] * 8]}, "what: expected images, spectra, or embeddings"),
        ({"what": [[0.0] * 8]}, "longer than zero"),
        ({"what": "galaxy"}, "what: expected images, spectra, or embeddings"),
        ({"what": [[1.0] * 8], "n": 0}, "n: expected a whole number of at least 1, got 0"),
        ({"what": [[1.0] * 8], "method": "best"}, "method: expected exact or faiss, got 'best'"),
        ({"what": NDData(np.ones((5, 8, 8)))}, "spectrograph: expected the one that made"),
    ],
)
def test_bad_queries(options, message):
    index = EmbeddingIndex(vectors(5), range(5), "image")
    with pytest.raises(InputError, match=message):
        index.query(**options)


def test_bad_indices(spectrograph, images):
    with pytest.raises(InputError, match="identifiers: expected one for each of 5 vectors, got 4"):
        EmbeddingIndex(vectors(5), range(4), "image")
    with pytest.raises(InputError, match="kind: expected image or spectrum"):
        EmbeddingIndex(vectors(5), range(5), "picture")
    with pytest.raises(InputError, match="at least one image or spectrum, got none"):
        EmbeddingIndex.build(spectrograph, [])
    spectrum = from_arrays(WAVELENGTH, np.ones(WAVELENGTH.size))
    with pytest.raises(InputError, match="images or spectra, got both"):
        EmbeddingIndex.build(spectrograph, [images[0], spectrum])


def test_damaged_files(tmp_path):
    path = tmp_path / "index.safetensors"
    with pytest.raises(InputError, match=r"path: expected an index, got .* does not exist"):
        EmbeddingIndex.load(path)
    EmbeddingIndex(vectors(5), range(5), "image").save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(InputError, match="path: expected an index"):
        EmbeddingIndex.load(path)
    save_file({"vectors": vectors(5)}, path)
    with pytest.raises(InputError, match="expected an index of format photospec-index-1"):
        EmbeddingIndex.load(path)
    names = np.frombuffer(json.dumps(["a"]).encode(), np.uint8)
    save_file(
        {"vectors": vectors(5), "identifiers": names},
        path,
        {"format": "photospec-index-1", "kind": "image"},
    )
    with pytest.raises(InputError, match="identifiers: expected one for each of 5"):
        EmbeddingIndex.load(path)


def test_command_line(tiny_weights, images, tmp_path, capsys):
    from photospec.image import write_image

    files = [tmp_path / f"{i}.fits" for i in range(4)]
    for path, image in zip(files, images, strict=False):
        write_image(path, image)
    (tmp_path / "broken.fits").write_text("no image")
    index, table = tmp_path / "index.safetensors", tmp_path / "found.ecsv"
    weights = ["--weights", str(tiny_weights), "--quiet"]
    files = list(map(str, files))
    given = [*files, str(tmp_path / "broken.fits")]
    assert main(["search", *given, "--build", str(index), *weights]) == 1
    assert "broken.fits: " in capsys.readouterr().err
    assert len(EmbeddingIndex.load(index)) == 4
    assert main(["search", str(tmp_path), "--build", str(index), *weights, "--overwrite"]) == 1
    assert "broken.fits: " in capsys.readouterr().err
    assert len(EmbeddingIndex.load(index)) == 4
    assert main(["search", files[2], "--index", str(index), "-n", "2", *weights]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4  # head, bar, two found
    assert lines[2].count("2.fits") == 2
    assert main(["search", *files, "--index", str(index), "-o", str(table), *weights]) == 0
    from astropy.table import Table

    found = Table.read(table)
    assert len(found) == 16
    assert found.meta["weights"] == str(tiny_weights.resolve())
    assert main(["search", files[0], "--build", str(index), *weights]) == 2
    assert "exists already" in capsys.readouterr().err
    with pytest.raises(SystemExit) as error:
        main(["search", files[0]])
    assert error.value.code == 2
