"""Files of the published code: every form of them, and those that must be refused."""

import os
import zipfile

import numpy as np
import pytest
import torch

from photospec.errors import InputError
from photospec.published.checkpoint import read_checkpoint, select_weights


def weights(value):
    return {"a.weight": torch.full((2, 3), float(value)), "a.bias": torch.zeros(2)}


def training_state(**extra):
    """A checkpoint as the training code writes it, scheduler with NumPy arrays included."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter])
    parameter.sum().backward()
    optimizer.step()
    scheduler = {
        "base_lrs": [1e-4],
        "_last_lr": np.linspace(0, 1, 3),
        "steps": np.arange(3),
        "factor": np.float64(0.5),
        "single": np.float32(0.5),
        "last": np.array([True]),
    }
    return {
        "model": weights(1),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler,
        "engine": {"epoch_length": 7, "max_epochs": 3, "iteration": 21},
        **extra,
    }


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (weights(4), 4),
        ({"model": weights(5)}, 5),
        (training_state(), 1),
        (training_state(average_model=weights(2)), 2),
        ({f"module.{key}": tensor for key, tensor in weights(6).items()}, 6),
    ],
)
def test_every_form(tmp_path, content, value):
    torch.save(content, tmp_path / "checkpoint.pt")
    found = read_checkpoint(tmp_path / "checkpoint.pt")
    assert set(found) == set(weights(0))
    assert (found["a.weight"] == value).all()


def test_arrays_pickled_by_an_older_numpy(tmp_path):
    new, old = tmp_path / "new.pt", tmp_path / "old.pt"
    torch.save(training_state(), new)
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(entry.filename, content)
    assert (read_checkpoint(old)["a.weight"] == 1).all()


class Code:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("part", ["scheduler", "engine", "model"])
@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_code_is_refused_and_not_run(tmp_path, part, legacy):
    trace, path = tmp_path / "trace", tmp_path / "bad.pt"
    content = training_state() | {part: {"x": Code(trace)}}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        InputError, match=r"bad\.pt: .*pickled code.*nothing in it was run"
    ) as error:
        read_checkpoint(path)
    assert "mkdir" in str(error.value)
    assert "\n" not in str(error.value)
    assert not trace.exists()


def test_objects_inside_arrays_are_refused(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "bad.pt"
    array = np.empty(1, dtype=object)
    array[0] = Code(trace)
    torch.save(training_state(scheduler={"x": array}), path)
    with pytest.raises(InputError, match="nothing in it was run"):
        read_checkpoint(path)
    assert not trace.exists()


def test_damaged_files(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save(weights(1), path)
    whole = path.read_bytes()
    for name, content in (
        ("half", whole[: len(whole) // 2]),
        ("empty", b""),
        ("text", b"output_path: here\n"),
        ("noise", bytes(range(256)) * 9),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"^checkpoint {name}: expected") as error:
            read_checkpoint(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="which is not there"):
        read_checkpoint(tmp_path / "nowhere.pt")
    with pytest.raises(InputError, match="which is not there"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "got list"),
        ({}, "empty"),
        ({"model": {}}, "empty"),
        ({"epoch": 3}, "got int at 'epoch'"),
        ({3: torch.ones(1)}, "got Tensor at 3"),
    ],
)
def test_content_without_weights(content, message):
    with pytest.raises(InputError, match=message):
        select_weights(content)
