import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyg_equiformer.data import read_sequences
from pyg_equiformer.data.protein_atoms import RESIDUE_ATOMS
from pyg_equiformer.data.sequence_files import CHAIN_IDS, MAX_NAME, SequenceRecord


@pytest.fixture
def read(tmp_path):
    """Read a text as a file of that name."""

    def run(text, name="a.fasta", **options):
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return read_sequences(tmp_path / name, **options)

    return run


def chains(found):
    return [record.chains for record in found.records]


@pytest.mark.parametrize("name", ["a.fasta", "a.fa", "a.faa", "A.FASTA", "a.fasta.gz", "a.fa.gz"])
def test_each_header_of_a_fasta_file_is_a_record_with_its_first_word_as_the_name(read, name):
    found = read(">one and more\nMKV\nLAA\n\n>two\nGSHM\n", name)
    assert found.records == [
        SequenceRecord("one", (("A", "MKVLAA"),)),
        SequenceRecord("two", (("A", "GSHM"),)),
    ]
    assert not found.tally


def test_colons_part_the_chains_of_a_complex_over_lines_too(read):
    assert chains(read(">x\nMK:GG\nA:\nLL\n")) == [(("A", "MK"), ("B", "GGA"), ("C", "LL"))]
    assert chains(read("name,sequence\nx,MK:GGA\n", "a.csv")) == [(("A", "MK"), ("B", "GGA"))]
    many = read(">x\n" + ":".join(["MK"] * len(CHAIN_IDS)))
    assert len({each for each, _ in many.records[0].chains}) == len(CHAIN_IDS) == 62
    with pytest.raises(ValueError, match="63 chains, expected 62 at most"):
        read(">x\n" + ":".join(["MK"] * 63))


def test_antibodies_have_heavy_and_light_chains_and_nanobodies_one_of_them(read):
    found = read("light,name,heavy\nDIQ,ab,EVQ\n,nano,QVQ\nEIV,lone,\n", "a.csv")
    assert [record.name for record in found.records] == ["ab", "nano", "lone"]
    assert chains(found) == [(("H", "EVQ"), ("L", "DIQ")), (("H", "QVQ"),), (("L", "EIV"),)]
    with pytest.raises(ValueError, match="line 2, record 'x', chain H: expected a sequence, got none"):
        read("name,heavy,light\nx, ,\n", "a.csv")
    with pytest.raises(ValueError, match="record 'x', chain H: residue 3 is ':'"):
        read("name,heavy,light\nx,EV:Q,DIQ\n", "a.csv")


def test_csv_headers_may_have_capitals_spaces_and_other_columns_and_rows_may_be_empty(read):
    found = read('\ufeffName, Sequence ,note\r\na,"MK\nV",x\r\n,,\r\nb,GG,\r\n', "a.csv")
    assert chains(found) == [(("A", "MKV"),), (("A", "GG"),)]
    assert found.tally == {
        "columns left out": 1, "empty rows left out": 1, "white space within sequences left out": 1
    }  # fmt: skip


def test_what_is_changed_in_sequences_is_counted(read):
    found = read("; made by hand\n>x\nmk-V..\nU OX*\n>y\nAc*\n>dna\nACGTACGTACGT\n>short\nACG\n")
    assert chains(found) == [(("A", "MKVCKX"),), (("A", "AC"),), (("A", "ACGTACGTACGT"),), (("A", "ACG"),)]
    assert found.tally == {
        "lines of comments left out": 1,
        "letters in lower case read as upper case": 3,
        "gaps (- and .) left out": 3,
        "white space within sequences left out": 1,
        "signs of an end (*) left out": 2,
        "selenocysteines (U) read as C": 1,
        "pyrrolysines (O) read as K": 1,
        "unknown residues (X) kept": 1,
        "sequences of A, C, G and T or U alone, perhaps nucleic acids": 1,
    }


@pytest.mark.parametrize(
    ("letter", "means"), [("B", "D or N"), ("z", "E or Q"), ("J", "I or L"), ("*", ""), ("1", ""), ("é", "")]
)
def test_other_letters_are_refused_with_their_record_and_place(read, letter, means):
    with pytest.raises(ValueError, match=r"a\.fasta, line 3, record 'bad', chain B: residue 4 is") as error:
        read(f">good\nMKV\n>bad\nGG:G-\nGA{letter}L\n")
    assert f"is {letter!r}{f', which may be {means}' if means else ''}; expected one of ARND" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (">x\n>y\nMK\n", "line 1, record 'x', chain A: expected a sequence, got none"),
        (">x\n-*\n", "chain A: expected a sequence, got none"),
        (">x\nMK::GG\n", "record 'x', chain B: expected a sequence, got none"),
        (">\n\n", "line 1, record 1, chain A: expected a sequence"),
        ("MKV\n>x\nMK\n", "line 1: expected a header that begins with '>', got 'MKV'"),
        (" \n\n", "expected sequences, got an empty file"),
        ("", "expected sequences, got an empty file"),
        ("; nothing\n", "expected sequences, found none"),
        (b">x\nMK\xff\n", r"expected text \(UTF-8\), got other bytes at position 5"),
        (b">x\nMK\0\n", r"got a binary file \(a zero byte at position 5\)"),
    ],
)
def test_fasta_files_without_what_is_expected_are_refused(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,seq\nx,MK\n", "expected the columns name,sequence or name,heavy,light, found id,seq$"),
        ("nam,sequense\nx,MK\n", "did you mean 'name' by 'nam'.; did you mean 'sequence' by 'sequense'"),
        ("name,heavy,sequence\nx,MK,GG\n", "expected the columns .* found name,heavy,sequence"),
        ("name,name,sequence\nx,y,GG\n", "expected the columns .* found name,name,sequence"),
        ("name;sequence\nx;MK\n", "values are separated by ',', not by ';'"),
        ("name,sequence\nx,MK,LL\n", "line 2: expected 2 values, got 3"),
        ("name,sequence\n", "expected sequences, found none"),
        ('name,sequence\nx,"MK\n', "line 2: not readable as CSV"),
        ("name,sequence\nx,\n", "line 2, record 'x', chain A: expected a sequence, got none"),
    ],
)
def test_csv_files_without_what_is_expected_are_refused(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text, "a.csv")


def test_chains_longer_than_the_limit_are_refused(read):
    assert chains(read(">x\nM-K-V\n", max_length=3)) == [(("A", "MKV"),)]
    with pytest.raises(ValueError, match="record 'x', chain B: 4 residues, expected 3 at most"):
        read(">x\nMKV:MKVL\n", max_length=3)
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        read(">x\nM\n", max_length=0)


def test_files_of_another_kind_are_refused(read, tmp_path):
    with pytest.raises(ValueError, match=r"expected a name that ends in one of \.fasta"):
        read(">x\nMK\n", "a.txt")
    with pytest.raises(ValueError, match="expected a file of sequences, got a folder"):
        read_sequences(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_sequences(tmp_path / "none.fasta")
    whole = gzip.compress(b">x\nMKV\n")
    for content in (whole[:-9], b">x\nMK\n", whole[:10] + b"\xff\xff" + whole[12:]):
        (tmp_path / "b.fasta.gz").write_bytes(content)
        with pytest.raises(ValueError, match="the compressed file is truncated or broken"):
            read_sequences(tmp_path / "b.fasta.gz")


def test_names_are_distinct_and_can_name_files(read):
    names = ["sp|P1|A", "../x", "same", "Same", "same-2", "-o", "é" + "a" * 100, "", "end."]
    found = read("".join(f">{name}\nMK\n" for name in names))
    assert [record.name for record in found.records] == [
        "sp_P1_A", "__x", "same", "Same-2", "same-2-2", "_o", "é" + "a" * (MAX_NAME - 1), "record-8", "end_",
    ]  # fmt: skip
    assert found.tally == {
        "names changed to be names of files": 5,
        "names of several records numbered": 2,
        "records without a name called by their number": 1,
    }


@given(
    names=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=80), max_size=5
    )
)
def test_any_names_make_as_many_files(names, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    file = folder / "a.fasta"
    file.write_text("".join(f">{'_'.join(name.split())}\nMK\n" for name in ("x", *names)).replace("\0", ""))
    found = read_sequences(file).records
    for record in found:
        (folder / f"{record.name}.pdb").touch()
    assert len(list(folder.iterdir())) == len(names) + 2


@given(
    complexes=st.lists(
        st.lists(st.text("".join(RESIDUE_ATOMS), min_size=1, max_size=30), min_size=1, max_size=4), min_size=1
    ),
    width=st.integers(1, 12),
)
def test_sequences_survive_any_folding_into_lines(complexes, width, tmp_path_factory):
    file = tmp_path_factory.mktemp("lines") / "a.fasta"
    texts = [":".join(each) for each in complexes]
    folded = ["\n".join(text[k : k + width] for k in range(0, len(text), width)) for text in texts]
    file.write_text("".join(f">r{k}\n{text}\n" for k, text in enumerate(folded)))
    found = [[letters for _, letters in record.chains] for record in read_sequences(file).records]
    assert found == complexes
