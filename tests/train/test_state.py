"""The state file of a run is read as tensors and plain values, never as code."""

import os
import pickle
import zipfile

import pytest
import torch
from stgcma.errors import InputError
from stgcma.train.state import load_state


class Code:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_code_in_a_state_is_not_run(tmp_path, kind):
    path, harm = tmp_path / "state.pt", tmp_path / "harm"
    state = {"progress": {}, "trained": {}, "optimizer": {}, "scaler": Code(harm)}
    if kind == "torch":
        torch.save(state, path)
        assert zipfile.is_zipfile(path)
    else:
        path.write_bytes(pickle.dumps(state, protocol=2))
    with pytest.raises(InputError, match=r"state\.pt cannot be read"):
        load_state(path, None, None, None)
    assert not harm.exists()
