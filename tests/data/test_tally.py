from pyg_equiformer.data.tally import Tally


def test_amounts_are_summed_and_frames_counted():
    tally = Tally()
    tally.add("atoms left out", 3, 10)
    tally.add("atoms left out", 8, 5)
    assert (tally.frames["atoms left out"], tally.amounts["atoms left out"]) == (2, 15)
    assert tally.where("atoms left out") == "frames 3, 8"
