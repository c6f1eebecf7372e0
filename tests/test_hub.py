"""Weights go to the hub and come back, and what is damaged on the way is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from photospec import PhotoSpectrograph
from photospec.errors import InputError, MissingPackageError
from photospec.hub import fetch_weights, push_weights

sys.path.insert(0, str(Path(__file__).parent))
from hub_server import serve

sys.path.pop(0)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    with serve() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        # What follows is read from the environment when the package is imported.
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_made_up")
        huggingface_hub.close_session()
        yield server
        huggingface_hub.close_session()


def test_weights_come_back_as_they_went(hub, tiny_weights):
    spectrograph = PhotoSpectrograph.load(tiny_weights)
    address = spectrograph.push("hf://owner/tiny")
    assert address == f"hf://owner/tiny@{hub.commit('owner/tiny')}"
    assert set(hub.repositories["owner/tiny"]) == {p.name for p in tiny_weights.iterdir()}
    for one in ("hf://owner/tiny", address):
        again = PhotoSpectrograph.load(one)
        assert again.config == spectrograph.config
        flux = np.linspace(1, 2, 4500)
        from photospec.spectrum import WAVELENGTH, from_arrays

        spectrum = from_arrays(WAVELENGTH, flux)
        np.testing.assert_array_equal(
            again.embed_spectrum(spectrum), spectrograph.embed_spectrum(spectrum)
        )
    # Other processes find it by its folder in the cache.
    assert Path(again.folder).is_dir()


def test_only_weights_are_taken(hub, tiny_weights):
    push_weights(tiny_weights, "hf://owner/tiny")
    hub.repositories["owner/tiny"]["run_me.py"] = b"raise SystemExit"
    folder = fetch_weights("hf://owner/tiny")
    assert {p.suffix for p in folder.iterdir()} == {".toml", ".safetensors"}


def test_damaged_files_are_refused(hub, tiny_weights):
    push_weights(tiny_weights, "hf://owner/tiny")
    folder = fetch_weights("hf://owner/tiny")
    blob = (folder / "base.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(InputError, match=r"base.safetensors of hf://owner/tiny with the hash"):
        PhotoSpectrograph.load("hf://owner/tiny")


def test_what_is_not_there(hub):
    with pytest.raises(InputError, match=r"weights: expected hf://owner/none on the hub, got"):
        PhotoSpectrograph.load("hf://owner/none")


@pytest.mark.parametrize(
    "address", ["hf://owner", "hf://owner/name@", "hf://a/b/c", "hf://../x@y z"]
)
def test_addresses(address):
    with pytest.raises(InputError, match="weights: expected hf://owner/name or"):
        fetch_weights(address)


def test_a_folder_without_weights(tmp_path):
    with pytest.raises(InputError, match=r"folder: expected weights with config\.toml"):
        push_weights(tmp_path, "hf://owner/name")


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r'pip install "photospec\[hub\]"'):
        PhotoSpectrograph.load("hf://owner/name")


def test_nothing_of_the_hub_is_imported_without_need(tmp_path):
    code = "import photospec, sys; photospec.PhotoSpectrograph; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert "huggingface_hub" not in result.stdout.split()
    assert "photospec.hub" in result.stdout.split()
