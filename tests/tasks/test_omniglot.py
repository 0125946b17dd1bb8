"""The real archives: what must be in them, what is refused, and getting them over a network."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from metalab.tasks import omniglot as module
from metalab.tasks.base import DataMissing
from metalab.tasks.characters import Library
from metalab.tasks.omniglot import ARCHIVES, DRAWERS, SIDE, Omniglot, download, load, read_archive


def test_there_are_1623_characters_of_50_alphabets_by_20_drawers(omniglot, shared_home):
    omniglot().n_classes("train")
    kept = np.load(shared_home / "cache" / module.CACHE, allow_pickle=False)
    assert kept["images"].shape == (1623, 20, 28, 28)
    assert len(set(kept["alphabet"])) == 50
    assert len({(str(a), int(c)) for a, c in zip(kept["alphabet"], kept["character"], strict=True)}) == 1623
    counted = dict(zip(*np.unique(kept["alphabet"], return_counts=True), strict=True))
    assert (counted["Greek"], counted["Latin"], counted["Tengwar"]) == (24, 26, 25)
    assert all(sorted(kept["character"][kept["alphabet"] == a]) == list(range(1, n + 1)) for a, n in counted.items())


def test_split_sizes_are_the_protocols(omniglot):
    family = omniglot()
    assert [family.n_classes(split) for split in ("train", "validation", "test")] == [4 * 1100, 100, 423]


def test_pictures_are_the_means_of_their_areas(omniglot):
    """105 = 3.75 x 28: each original pixel cut into 4 x 4, each new one is the mean of 15 x 15 of those."""
    family = omniglot()
    names = [family.class_name("test", c) for c in range(423)]
    for c in (0, 200, 422):
        alphabet, number = names[c].rsplit(" ", 1)
        drawings = []
        for archive in ARCHIVES:
            with zipfile.ZipFile(module.folder() / f"{archive}.zip") as file:
                found = [n for n in file.namelist() if f"/{alphabet.replace(' ', '_')}/character{number:0>2}/" in n]
                drawings += [np.asarray(Image.open(io.BytesIO(file.read(n))), float) for n in sorted(found)]
        assert len(drawings) == 20
        for drawer in (0, 19):
            fine = np.kron(1 - drawings[drawer], np.ones((4, 4)))
            expected = fine.reshape(28, 15, 28, 15).mean((1, 3)) * 255
            assert np.abs(family.images("test")[c, drawer].numpy() - expected).max() <= 0.51


def picture(size=105, value=0, kind="PNG"):
    image = Image.new("1", (size, size), 1)
    image.paste(value, (30, 40, 60, 45))
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def drawing_names(characters=2, drawers=20):
    return [
        f"images_background/Greek/character{c:02}/{c:04}_{d:02}.png"
        for c in range(1, characters + 1)
        for d in range(1, drawers + 1)
    ]


def archive(folder, changes=None, names=None):
    """A small archive of two characters; `changes` maps a member's name to other bytes, or None to leave it out."""
    path = folder / "images_background.zip"
    members = dict.fromkeys(names or drawing_names(), picture()) | (changes or {})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            if content is not None:
                file.writestr(name, content)
    return path


FIRST = "images_background/Greek/character01/0001_01.png"


def test_a_small_archive_is_read(tmp_path):
    found = read_archive(archive(tmp_path), 2)
    assert list(found["alphabet"]) == ["Greek"] * 2
    assert list(found["character"]) == [1, 2]
    assert found["images"].shape == (2, DRAWERS, SIDE, SIDE)
    # The bar covers rows 40 to 45 and columns 30 to 60 of 105: exactly row 11 and columns 8 to 15 of 28 are within.
    assert (found["images"][:, :, 11, 8:16] == 255).all()
    assert found["images"][:, :, :10].max() == 0


def test_members_of_other_names_are_never_read(tmp_path):
    strange = {
        "../../escape.png": b"x",
        "/etc/character01/0001_01.png": b"x",
        "images_background/": b"",
        "images_background/.DS_Store": b"x",
        "images_background/Greek/character01/../../0001_01.png": b"x",
        "images_evaluation/Greek/character01/0001_01.png": b"x",
        "images_background/Greek/character01/0001_01.png.exe": b"x",
    }
    assert len(read_archive(archive(tmp_path, strange), 2)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["images_background.zip"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({FIRST: None}, "39 drawings, expected 2 characters x 20 drawers"),
        ({FIRST: picture(104)}, "(104, 104) pixels, expected 105 x 105"),
        ({FIRST: picture(5000)}, "5000"),
        ({FIRST: b"not a picture"}, "cannot identify image file"),
        ({FIRST: picture(kind="BMP")}, "cannot identify image file"),
        ({FIRST: picture()[:-40]}, "cannot be used"),
        ({FIRST: bytes(module.LARGEST_MEMBER + 1)}, "expected at most 20000"),
        ({FIRST: None, FIRST.replace("_01.", "_21."): picture()}, "expected drawers 1 to 20"),
        ({FIRST: None, FIRST.replace("Greek", "Latin"): picture()}, "3 characters, expected 2"),
    ],
)
def test_an_archive_that_is_not_what_it_should_be_is_refused(tmp_path, changes, said):
    with pytest.raises(DataMissing) as caught:
        read_archive(archive(tmp_path, changes), 2)
    assert said in str(caught.value)
    assert str(tmp_path / "images_background.zip") in str(caught.value)
    assert "METALAB_DATA" in str(caught.value)


def test_twice_the_same_drawing_is_refused(tmp_path):
    path = archive(tmp_path, {FIRST: None})
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr(FIRST.replace("_01.", "_02."), picture())
    with pytest.raises(DataMissing, match="drawn by drawers 1 to 20"):
        read_archive(path, 2)


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_MEMBERS", 39)
    with pytest.raises(DataMissing, match="40 members, expected about 40"):
        read_archive(archive(tmp_path), 2)


def test_damaged_bytes_are_refused(tmp_path):
    path = archive(tmp_path)
    content = bytearray(path.read_bytes())
    content[120:160] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(DataMissing, match="cannot be used"):
        read_archive(path, 2)
    path.write_bytes(b"no zip at all")
    with pytest.raises(DataMissing, match="not a zip file"):
        read_archive(path, 2)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No data, no cache, nothing loaded."""
    monkeypatch.setenv("METALAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("METALAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Omniglot, "library", Library(load))
    return tmp_path / "data" / "omniglot"


def test_without_data_one_sentence_says_what_to_do(nowhere):
    with pytest.raises(DataMissing) as caught:
        Omniglot().require()
    for part in ("images_background.zip", "images_evaluation.zip", str(nowhere), "METALAB_DATA", "omniglot.download()"):
        assert part in str(caught.value)
    files = "images_background.zip and images_evaluation.zip (from github.com/brendenlake/omniglot, folder python)"
    assert caught.value.in_short == f"Put {files} into {nowhere}."
    with pytest.raises(DataMissing, match=r"images_background\.zip is not there"):
        Omniglot().n_classes("test")
    assert not nowhere.exists()


def test_one_archive_of_two_is_not_enough(nowhere):
    nowhere.mkdir(parents=True)
    (nowhere / "images_background.zip").touch()
    with pytest.raises(DataMissing, match=r"^Omniglot lacks images_evaluation\.zip\. Put"):
        Omniglot().require()


def test_what_was_decoded_once_is_enough(omniglot, shared_home, monkeypatch, tmp_path):
    monkeypatch.setenv("METALAB_DATA", str(tmp_path))
    monkeypatch.setattr(Omniglot, "library", Library(load))
    Omniglot().require()
    assert Omniglot().n_classes("test") == 423


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a folder on loopback as torchvision's source; yields the folder."""
    served = tmp_path / "served"
    served.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            """A client that hangs up in the middle is what some of these tests are about."""

    httpd = Server(("127.0.0.1", 0), partial(Handler, directory=str(served)))
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    source = torchvision.datasets.Omniglot
    monkeypatch.setattr(source, "download_url_prefix", f"http://127.0.0.1:{httpd.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield served
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def publish(served, monkeypatch, contents):
    for name, content in contents.items():
        (served / f"{name}.zip").write_bytes(content)
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(torchvision.datasets.Omniglot, "zips_md5", sums)


def test_the_real_archives_arrive_over_a_network(omniglot, server, monkeypatch, request):
    real = {name: (module.folder() / f"{name}.zip").read_bytes() for name in ARCHIVES}
    publish(server, monkeypatch, real)
    nowhere = request.getfixturevalue("nowhere")
    seen = []
    download(lambda done, total: seen.append((done, total)))
    total = sum(len(content) for content in real.values())
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert {path.name: path.read_bytes() == real[path.stem] for path in nowhere.iterdir()} == {
        "images_background.zip": True,
        "images_evaluation.zip": True,
    }
    Omniglot().require()
    download(lambda done, total: pytest.fail("what is there is not fetched again"))


SMALL = {name: bytes(200_000) + name.encode() for name in ARCHIVES}


def test_only_what_is_absent_is_fetched(server, monkeypatch, nowhere):
    publish(server, monkeypatch, SMALL)
    nowhere.mkdir(parents=True)
    (nowhere / "images_background.zip").write_bytes(b"mine")
    seen = []
    download(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(SMALL["images_evaluation"]),) * 2
    assert (nowhere / "images_background.zip").read_bytes() == b"mine"


def test_a_damaged_download_leaves_nothing(server, monkeypatch, nowhere):
    publish(server, monkeypatch, SMALL)
    (server / "images_background.zip").write_bytes(b"something else")
    with pytest.raises(DataMissing, match=r"images_background\.zip arrived damaged .*METALAB_DATA"):
        download()
    assert list(nowhere.iterdir()) == []


def test_an_endless_download_is_ended(server, monkeypatch, nowhere):
    publish(server, monkeypatch, SMALL)
    monkeypatch.setattr(module, "LARGEST_ARCHIVE", 100_000)
    with pytest.raises(DataMissing, match="more than 100000 bytes"):
        download()
    assert list(nowhere.iterdir()) == []


def test_a_download_can_be_ended_by_its_watcher(server, monkeypatch, nowhere):
    publish(server, monkeypatch, SMALL)

    class Enough(Exception):
        pass

    def watch(done, total):
        raise Enough

    with pytest.raises(Enough):
        download(watch)
    assert list(nowhere.iterdir()) == []


def test_a_source_without_the_file_is_reported(server, nowhere):
    with pytest.raises(DataMissing, match=r"could not be downloaded: HTTP Error 404.*METALAB_DATA"):
        download()


def test_no_network_is_reported(monkeypatch, nowhere):
    # Port 9 of loopback: nobody listens there.
    monkeypatch.setattr(torchvision.datasets.Omniglot, "download_url_prefix", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DataMissing, match=r"could not be downloaded: .*Put images_background\.zip"):
        download()


def test_a_folder_that_cannot_be_made_is_reported(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("METALAB_DATA", str(tmp_path / "file"))
    with pytest.raises(DataMissing, match=r"cannot make the folder .*METALAB_DATA"):
        download()


def test_torchvision_still_names_the_archives():
    """What `download` takes from torchvision, so that a change there is seen here."""
    assert set(torchvision.datasets.Omniglot.zips_md5) == set(ARCHIVES)
    assert torchvision.datasets.Omniglot.download_url_prefix.startswith("https://")
