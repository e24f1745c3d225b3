import signal
from pathlib import Path

import pytest

from pyg_equiformer import data

from .command import call, fine, one_red_line, start, wait_for


def test_sample_writes_what_train_reads():
    words = ["water", "--frames", "4", "--equilibration", "0", "--interval", "1", "-o", "w.xyz"]
    assert "4 structures" in fine(call("sample", *words))
    assert len(data.read_structures("w.xyz")) == 4
    assert "2 structures to train, 1 to validate, 1 to test" in fine(call("train", "w.xyz", "--dry-run"))


def test_sample_names_the_file_after_the_molecule_and_never_overwrites():
    options = ["--frames", "1", "--equilibration", "0"]
    fine(call("sample", "smiles:[H][H]", *options))
    assert Path("smiles__H__H.xyz").exists()
    assert "exists already" in one_red_line(call("sample", "smiles:[H][H]", *options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["notamolecule"], "notamolecule"),
        (["water", "--temperature", "-3"], "temperature: expected a positive number of K"),
        (["water", "--interval", "0.7"], "interval: expected a whole number of timesteps"),
        (["water", "-o", "w.csv"], "expected a file name that ends in"),
    ],
)
def test_bad_arguments_give_one_line(arguments, message):
    assert message in one_red_line(call("sample", *arguments))


def test_ctrl_c_says_where_the_structures_are():
    process = start("sample", "ethanol", "--equilibration", "0", "-o", "e.xyz")
    partial = Path("e.partial.xyz")
    wait_for(partial, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by Ctrl-C; the structures so far are in e.partial.xyz" in stderr
    assert len(data.read_structures(partial)) >= 1
