"""The published networks against what the authors' code answers, and against themselves.

With the reference data the full networks are compared array by array. Elsewhere an
extract made by this code at small sizes keeps them as they are; after a deliberate
change, ``python tests/networks/test_published.py`` writes it anew.
"""

import json
import runpy
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from photospec.errors import InputError
from photospec.published.denoiser import (
    PublishedContrastive,
    PublishedDenoiser,
    load_contrastive,
    load_denoiser,
)
from photospec.published.schedule import cosine_buffers, linear_buffers
from photospec.published.unet import published_frequencies

EXTRACT = Path(__file__).parent / "data" / "published_extract.npz"
SMALL = {"widths": (8, 32, 64), "attention_depths": (2,), "time_width": 32, "image_width": 4}
TOLERANCE = 1e-4


def digest(state_dict):
    """A number for the names, order aside, and shapes of a state dict."""
    lines = sorted(f"{key} {list(value.shape)}" for key, value in state_dict.items())
    return len(lines), zlib.crc32("\n".join(lines).encode())


# ---------------------------------------------------------------- with the reference data


class Reference:
    def __init__(self, folder):
        recipe = runpy.run_path(str(folder / "recipe.py"))
        self.uniform, self.values = recipe["uniform"], recipe["values"]
        self.keys = json.loads((folder / "state_dicts.json").read_text())
        with np.load(folder / "outputs.npz") as outputs:
            self.outputs = dict(outputs)
        self.seen = set()

    def buffers(self):
        cosine = {
            f"diffusion.{name}": self.expected(f"cosine_{name}")
            for name in ("betas", "alphas", "cumalphas")
        }
        return cosine | {"unet.encoder.freqs": self.expected("freqs")}

    def state_dict(self, name):
        kept = self.buffers()
        return {
            key: torch.as_tensor(
                self.values(key, tuple(entry["shape"])) if entry["recipe"] else kept[key]
            )
            for key, entry in self.keys[name].items()
        }

    def input(self, name, *shape):
        values = (self.uniform(name, int(np.prod(shape))) - 0.5) * 2
        return torch.as_tensor(values.reshape(shape), dtype=torch.float32)

    def expected(self, name):
        self.seen.add(name)
        return self.outputs[name]

    def check(self, name, answer):
        np.testing.assert_allclose(answer.numpy(), self.expected(name), atol=TOLERANCE, rtol=0)


@pytest.fixture(scope="module")
def reference(shared):
    folder = shared / "reference"
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} is not there")
    return Reference(folder)


def test_every_reference_array(reference):
    t = torch.tensor([3, 201])
    for stage, length in (("lr", 563), ("sr", 4500)):
        denoiser = load_denoiser(reference.state_dict(stage))
        image = reference.input(f"{stage}_image", 2, 5, 64, 64)
        low = reference.input("sr_low", 2, 1, 563) if stage == "sr" else None
        x = reference.input(f"{stage}_x", 2, 1, length)
        reference.check(f"{stage}_tokens", denoiser.tokens(image))
        reference.check(f"{stage}_eps", denoiser(x, t, image, low))
    contrastive = load_contrastive(reference.state_dict("contrastive"))
    image, spectrum = contrastive(
        reference.input("con_image", 3, 5, 64, 64), reference.input("con_spectrum", 3, 563)
    )
    reference.check("con_image_embedding", image)
    reference.check("con_spectrum_embedding", spectrum)
    assert reference.seen == set(reference.outputs)


def test_reference_buffers_are_ours(reference):
    ours = cosine_buffers()
    for name, values in zip(("betas", "alphas", "cumalphas"), ours, strict=True):
        np.testing.assert_allclose(values, reference.expected(f"cosine_{name}"), atol=3e-7, rtol=0)
    np.testing.assert_array_equal(published_frequencies(128), reference.expected("freqs"))


def test_digests_are_those_of_the_reference(reference):
    for name, frozen in DIGESTS.items():
        shapes = {key: np.empty(entry["shape"]) for key, entry in reference.keys[name].items()}
        assert digest(shapes) == frozen


# ------------------------------------------------------------------------------ elsewhere

DIGESTS = {"lr": (340, 4142057318), "sr": (340, 2633510722), "contrastive": (422, 980037337)}


def test_default_sizes():
    with torch.device("meta"):
        networks = {
            "lr": PublishedDenoiser(),
            "sr": PublishedDenoiser(n_channels=2),
            "contrastive": PublishedContrastive(),
        }
    for name, frozen in DIGESTS.items():
        assert digest(networks[name].state_dict()) == frozen
    n_parameters = [sum(p.numel() for p in network.parameters()) for network in networks.values()]
    assert n_parameters == [35_904_129, 35_904_385, 43_481_920]


def numbers(name, shape):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return torch.as_tensor(rng.uniform(-1, 1, shape), dtype=torch.float32)


def filled(network):
    """A state dict of `network` with numbers that depend on names and shapes alone."""
    weights = network.state_dict()
    for key, value in weights.items():
        if key.startswith("diffusion.") or key.endswith(("freqs", "num_batches_tracked")):
            continue
        fresh = numbers(key, value.shape)
        if value.ndim > 1:
            weights[key] = fresh * (3 / value[0].numel()) ** 0.5
        elif key.endswith(("weight", "running_var")):
            weights[key] = 1 + 0.1 * fresh
        else:
            weights[key] = 0.1 * fresh
    return weights


def small_answers():
    """What the networks answer at small sizes, all variants."""
    answers = {}
    t, image = torch.tensor([3, 201]), numbers("image", (2, 5, 64, 64))
    for name, options, length in (
        ("attention", {}, 141),
        ("super_resolution", {"n_channels": 2}, 300),
        ("concatenation", {"conditioning": "concatenation"}, 3598),
        ("none", {"conditioning": "none"}, 141),
    ):
        network = PublishedDenoiser("linear", **SMALL, **options)
        denoiser = load_denoiser(filled(network))
        assert type(denoiser.unet.conditioning) is str
        low = numbers("low", (2, 1, 57)) if name == "super_resolution" else None
        step = 8 if length > 1000 else 1
        answers[name] = denoiser(numbers("x", (2, 1, length)), t, image, low)[..., ::step]
    answers["tokens"] = load_denoiser(filled(PublishedDenoiser(**SMALL))).tokens(image)
    network = PublishedContrastive(16, widths=(8, 16), image_width=4)
    contrastive = load_contrastive(filled(network))
    answers["embedding_image"], answers["embedding_spectrum"] = contrastive(
        image, numbers("spectrum", (2, 1, 141))
    )
    for name, buffers in (("linear", linear_buffers()), ("cosine", cosine_buffers())):
        answers[name] = torch.stack(buffers)[:, ::10]
    return {name: answer.numpy() for name, answer in answers.items()}


def test_frozen_extract():
    answers = small_answers()
    with np.load(EXTRACT) as frozen:
        assert set(frozen) == set(answers)
        for name, answer in answers.items():
            np.testing.assert_allclose(answer, frozen[name], atol=TOLERANCE, rtol=0, err_msg=name)
            assert np.std(frozen[name]) > 0.01


def test_conditionings_use_the_image():
    for conditioning, uses in (("cross-attention", 1), ("concatenation", 1), ("none", 0)):
        network = PublishedDenoiser(conditioning=conditioning, **SMALL)
        denoiser = load_denoiser(filled(network))
        assert denoiser.unet.conditioning == conditioning
        x, t = numbers("x", (1, 1, 3598)), torch.tensor([9.0])
        a, b = (denoiser(x, t, numbers(name, (1, 5, 64, 64))) for name in ("one", "two"))
        assert ((a - b).abs().max() > 1e-3) == bool(uses)


def test_loading_draws_no_random_numbers_and_copies():
    weights = filled(PublishedDenoiser(**SMALL))
    state = torch.get_rng_state()
    denoiser = load_denoiser(weights)
    assert torch.equal(torch.get_rng_state(), state)
    assert not denoiser.training
    weights["unet.conv_cls.weight"].zero_()
    assert denoiser.unet.conv_cls.weight.abs().max() > 0


def test_buffers_may_be_left_out_together():
    weights = filled(PublishedDenoiser("linear", **SMALL))
    short = {
        key: value
        for key, value in weights.items()
        if not key.startswith("diffusion.") and not key.endswith("freqs")
    }
    denoiser = load_denoiser(short, schedule="linear")
    torch.testing.assert_close(denoiser.diffusion.betas, weights["diffusion.betas"])
    torch.testing.assert_close(denoiser.unet.encoder.freqs, weights["unet.encoder.freqs"])


# ------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("unet.conv_cls.bias"), "without unet.conv_cls.bias"),
        (lambda w: w.pop("diffusion.betas"), "without diffusion.betas"),
        (lambda w: w.pop("unet.encoder.freqs"), "without unet.encoder.freqs"),
        (lambda w: w.pop("unet.first_layer_t.2.weight"), "without a usable unet.first_layer_t"),
        (lambda w: w.update(other=torch.ones(2)), "with unknown other"),
        (
            lambda w: w.update({"unet.conv_cls.weight": torch.ones(1, 9, 1)}),
            r"unet.conv_cls.weight \(1, 9, 1\) instead of \(1, 8, 1\)",
        ),
        (
            lambda w: w.update({"unet.down_blocks.0.0.block1.0.weight": torch.ones(9, 1, 3)}),
            "shapes that make none",
        ),
        (
            lambda w: w.update(
                {"unet.condition_encoder.model.conv1.weight": torch.ones(4, 3, 7, 7)}
            ),
            r"conv1.weight \(4, 3, 7, 7\) instead of \(4, 5, 7, 7\)",
        ),
        (lambda w: w["unet.conv_cls.weight"].fill_(torch.nan), "NaN or infinity in unet.conv_cls"),
        (lambda w: w.update(epoch=3), "got int at 'epoch'"),
        (lambda w: w.clear(), "empty"),
        (lambda w: w.update({"image_model.fc.bias": torch.ones(2)}), "contrastive network"),
    ],
)
def test_bad_denoiser_weights(change, message):
    weights = filled(PublishedDenoiser(**SMALL))
    change(weights)
    with pytest.raises(InputError, match=message) as error:
        load_denoiser(weights, name="base")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("base: ")


def test_bad_contrastive_weights():
    weights = filled(PublishedContrastive(16, widths=(8, 16), image_width=4))
    with pytest.raises(InputError, match=r"image 16, spectrum 16, expected 32.*128 and 256"):
        load_contrastive(weights, embedding_size=32)
    other = filled(PublishedContrastive(32, widths=(8, 16), image_width=4))
    mixed = {key: (other if "spectrum" in key else weights)[key] for key in weights}
    with pytest.raises(InputError, match=r"got image 16, spectrum 32; .*\(128 and 256\)"):
        load_contrastive(mixed)
    with pytest.raises(InputError, match="got the weights of a denoiser"):
        load_contrastive({"unet.conv_cls.bias": torch.ones(1)})
    with pytest.raises(InputError, match="expected a dict of weights, got list"):
        load_contrastive([1])


def test_missing_condition():
    image, t = torch.zeros(1, 5, 64, 64), torch.tensor([1.0])
    fine = load_denoiser(filled(PublishedDenoiser(n_channels=2, **SMALL)))
    with pytest.raises(InputError, match="low_resolution: expected a spectrum"):
        fine(torch.zeros(1, 1, 141), t, image)
    base = load_denoiser(filled(PublishedDenoiser(**SMALL)))
    with pytest.raises(InputError, match="low_resolution: expected None"):
        base(torch.zeros(1, 1, 141), t, image, torch.zeros(1, 1, 57))
    with pytest.raises(ValueError, match="conditioning: expected one of"):
        PublishedDenoiser(conditioning="x")


if __name__ == "__main__":
    EXTRACT.parent.mkdir(exist_ok=True)
    np.savez_compressed(EXTRACT, **small_answers())
