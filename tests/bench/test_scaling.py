import pytest
import torch
from e3nn.o3 import Irreps

from pyg_equiformer.bench.scaling import LONGEST, VALUES, _Limit, check_axes, config_of, measure_axis, points
from pyg_equiformer.bench.variants import Variant

CPU = torch.device("cpu")
OURS, E3NN = ("pyg_equiformer", Variant()), ("e3nn", None)


def test_every_point_has_times_and_memory_of_everybody():
    rows = measure_axis("degree", "small", [OURS, E3NN], repeats=1, device=CPU, values=(2, 4))
    assert [row["value"] for row in rows] == [2, 4]
    assert [row["edges"] for row in rows] == [200, 400]
    for row in rows:
        assert set(row["peers"]) == {"pyg_equiformer", "e3nn"}
        for entry in row["peers"].values():
            assert len(entry["forward"]["seconds"]) == len(entry["step"]["seconds"]) == 1
            assert entry["peak"] is None or entry["peak"] >= 0


def test_atoms_are_followed_forward_only_and_with_the_search_for_neighbours():
    told = []
    rows = measure_axis("atoms", "qm9", [OURS], repeats=1, device=CPU, values=(10, 20), progress=told.append)
    assert [row["atoms"] for row in rows] == [10, 20]
    assert all(row["radius_graph"] > 0 for row in rows)
    assert all(set(row["peers"]["pyg_equiformer"]) == {"forward", "peak"} for row in rows)
    assert told == ["atoms 10, pyg_equiformer", "atoms 20, pyg_equiformer"]


def test_who_cannot_take_part_says_why_once():
    rows = measure_axis("lmax", "qm9", [("openequivariance", None)], repeats=1, device=CPU, values=(1, 2))
    if "stopped" not in rows[0]["peers"]["openequivariance"]:
        pytest.skip("it can")
    assert rows[1]["peers"] == {}


def test_a_peer_stops_before_it_takes_too_much_time_or_memory(monkeypatch):
    monkeypatch.setattr("pyg_equiformer.bench.scaling.available_memory", lambda device: 2**32)
    limit = _Limit(size=100, bytes=2**30, seconds=1.0)
    assert limit.stops_before(200, 1, CPU) is None
    assert "would need about 4 GiB of memory, 4 GiB are free" in limit.stops_before(200, 2, CPU)
    assert "would need about 3 GiB" in limit.stops_before(300, 1, CPU)
    assert _Limit(size=100, bytes=2**20).stops_before(10**6, 2, CPU) is None  # mostly what does not grow
    assert "took" in _Limit(size=100, seconds=2 * LONGEST).stops_before(101, 1, CPU)
    assert _Limit().stops_before(10**9, 2, CPU) is None


@pytest.mark.parametrize("axis", ["lmax", "channels", "degree"])
def test_one_thing_grows_at_a_time(axis):
    found = list(points(axis, "qm9"))
    assert [p.value for p in found] == list(VALUES[axis])
    assert [p.size for p in found] == sorted(p.size for p in found)
    assert [p.system().degree for p in found] == (list(VALUES["degree"]) if axis == "degree" else [16] * len(found))
    lmax = [Irreps(p.config.irreps).lmax for p in found]
    channels = [Irreps(p.config.irreps).count("0e") for p in found]
    assert lmax == (list(VALUES["lmax"]) if axis == "lmax" else [2] * len(found))
    assert channels == (list(VALUES["channels"]) if axis == "channels" else [64] * len(found))


def test_networks_keep_the_other_settings_of_the_preset():
    config = config_of("md17", 32, 2)
    assert config.basis == "exp"
    assert config.irreps == "32x0e+16x1e+8x2e"
    assert config.irreps_sh == "1x0e+1x1e+1x2e"


def test_axes_are_checked():
    assert check_axes("lmax, atoms,lmax") == ["lmax", "atoms"]
    assert check_axes(["all"]) == ["atoms", "degree", "lmax", "channels"]
    with pytest.raises(ValueError, match="there is no axis 'depth'"):
        check_axes("depth")
