import json
import platform
from importlib.metadata import version

from pyg_equiformer.training.hardware import hardware, processor_name


def test_hardware_is_plain_and_names_processor_and_versions():
    facts = json.loads(json.dumps(hardware(), allow_nan=False))
    assert facts["processor"] == processor_name() != ""
    assert facts["cores"] >= 1
    assert facts["versions"]["python"] == platform.python_version()
    assert facts["versions"]["torch_geometric"] == version("torch_geometric")
