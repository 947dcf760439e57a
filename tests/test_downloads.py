"""Downloads against a local server that misbehaves in every way that real ones do."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gencls import archives, downloads
from gencls.archives import Archive, unpack
from gencls.downloads import Source, fetch
from gencls.errors import GenclsError

CONTENT = bytes(range(256)) * 1000


class Server(ThreadingHTTPServer):
    """Serves one file; `plan` holds how each request in turn is answered, "good" when it is used up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag = CONTENT, '"v1"'
        self.plan: list[str] = []
        self.seen: list[tuple[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:  # a client that hangs up is expected here
        pass


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range", "")
        server.seen.append((self.path, asked))
        how = server.plan.pop(0) if server.plan else "good"
        if how.isdigit():
            self.send_error(int(how))
            return
        start = 0
        if asked and self.headers.get("If-Range") == server.etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        rest = server.content[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if how == "good":
            self.wfile.write(rest)
        else:  # cut or stall after the half
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            if how == "stall":
                time.sleep(1.5)
            self.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GENCLS_MIRROR", raising=False)
    monkeypatch.delenv("GENCLS_OFFLINE", raising=False)
    monkeypatch.setattr(downloads, "WAIT", 0.01)
    monkeypatch.setattr(downloads, "TIMEOUT", (2.0, 0.4))
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def wanted(server: Server, content: bytes = CONTENT, name: str = "numbers.bin") -> Source:
    return Source(
        "numbers",
        f"{server.url}/some/{name}",
        "a test's numbers",
        "none",
        sha256=hashlib.sha256(content).hexdigest(),
    )


def left(tmp_path: Path) -> set[str]:
    """The names of all files in the cache."""
    return {p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()}


def test_a_download_is_whole_and_made_once(server: Server, tmp_path: Path) -> None:
    first, second = fetch(wanted(server)), fetch(wanted(server))
    assert first == second and first.read_bytes() == CONTENT
    assert len(server.seen) == 1 and left(tmp_path) == {"numbers.bin"}


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_a_broken_download_is_resumed_where_it_stopped(server: Server, fault: str) -> None:
    server.plan = [fault, fault]
    assert fetch(wanted(server)).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    starts = [int(asked.strip("bytes=-") or 0) for _, asked in server.seen]
    assert starts[0] == 0 and half - 20_000 < starts[1] <= half and half * 1.5 - 30_000 < starts[2] <= half * 1.5


def test_a_later_session_resumes_too(server: Server, tmp_path: Path) -> None:
    server.plan = ["cut"] * downloads.ATTEMPTS
    with pytest.raises(GenclsError, match=r"numbers.*failed or broke off|broke off after"):
        fetch(wanted(server))
    assert "numbers.bin" not in left(tmp_path) and "numbers.bin.part" in left(tmp_path)
    assert fetch(wanted(server)).read_bytes() == CONTENT
    assert server.seen[-1][1].startswith("bytes=")


def test_a_file_that_changed_meanwhile_starts_anew(server: Server) -> None:
    server.plan = ["cut"] * downloads.ATTEMPTS
    server.content = b"x" * len(CONTENT)
    with pytest.raises(GenclsError):
        fetch(wanted(server))
    server.content, server.etag = CONTENT, '"v2"'
    assert fetch(wanted(server)).read_bytes() == CONTENT


def test_without_a_tag_of_its_version_nothing_is_spliced(server: Server) -> None:
    server.etag, server.plan = "", ["cut"]
    assert fetch(wanted(server)).read_bytes() == CONTENT
    assert [asked for _, asked in server.seen] == ["", ""]


def test_a_wrong_digest_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[::-1]
    with pytest.raises(GenclsError, match="SHA-256"):
        fetch(wanted(server))
    assert left(tmp_path) <= {"numbers.bin.lock"}
    server.content = CONTENT
    assert fetch(wanted(server)).read_bytes() == CONTENT


def test_a_damaged_cache_is_noticed(server: Server) -> None:
    fetch(wanted(server)).write_bytes(b"damaged")
    with pytest.raises(GenclsError, match="delete it and fetch it again"):
        fetch(wanted(server))


def test_errors_that_cannot_heal_are_not_tried_again(server: Server, tmp_path: Path) -> None:
    server.plan = ["404", "404"]
    with pytest.raises(GenclsError, match=r"a test's numbers.*404.*GENCLS_MIRROR"):
        fetch(wanted(server))
    assert len(server.seen) == 1 and left(tmp_path) <= {"numbers.bin.lock"}


def test_errors_that_may_heal_are(server: Server) -> None:
    server.plan = ["500", "503"]
    assert fetch(wanted(server)).read_bytes() == CONTENT
    server.plan = ["500"] * 9
    with pytest.raises(GenclsError, match=r"500.*4 times.*gencls data fetch numbers"):
        fetch(wanted(server, name="other.bin"))


def test_a_stall_ends_in_a_clear_error(server: Server) -> None:
    server.plan, server.etag = ["stall"] * 9, ""
    with pytest.raises(GenclsError, match=r"stalled: nothing came for 0.4 s"):
        fetch(wanted(server))


def test_no_network_says_what_is_missing_and_how_to_fetch_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Source("gone", "http://127.0.0.1:9/file.bin", "what a test wants", "none")
    with pytest.raises(GenclsError, match=r"what a test wants.*gencls data fetch gone"):
        fetch(gone)
    monkeypatch.setenv("GENCLS_OFFLINE", "1")
    with pytest.raises(GenclsError, match=r"GENCLS_OFFLINE is set.*gencls data fetch numbers"):
        fetch(wanted(server))
    assert not server.seen


def test_two_at_once_download_once(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(fetch, [wanted(server)] * 4))
    assert len(set(paths)) == 1 and len(server.seen) == 1


def test_a_full_disk_is_a_clear_error_and_can_be_resumed(server: Server, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(GenclsError, match=r"could not be written to .*make room"):
            fetch(wanted(server))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "numbers.bin" not in left(tmp_path)
    assert fetch(wanted(server)).read_bytes() == CONTENT


def test_a_folder_mirror_is_read_in_place(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = wanted(server)
    file = tmp_path / "mirror" / source.place
    file.parent.mkdir(parents=True)
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(
        GenclsError,
        match=r"neither the folder that GENCLS_MIRROR names nor the cache holds 127\.0\.0\.1_\d+/some/numbers",
    ):
        fetch(source)
    file.write_bytes(CONTENT)
    assert fetch(source) == file and not left(tmp_path) and not server.seen
    file.write_bytes(b"other")
    with pytest.raises(GenclsError, match="SHA-256"):
        fetch(source)
    monkeypatch.setenv("GENCLS_MIRROR", str(tmp_path / "nowhere"))
    with pytest.raises(GenclsError, match="no folder"):
        fetch(source)


def test_a_mirror_by_address(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENCLS_MIRROR", f"{server.url}/mirror/")
    source = Source("far", "https://example.org/a/b.bin", "far", "", sha256=hashlib.sha256(CONTENT).hexdigest())
    assert fetch(source).read_bytes() == CONTENT
    assert server.seen == [("/mirror/example.org/a/b.bin", "")]


def test_an_unknown_source_lists_the_known_ones() -> None:
    with pytest.raises(GenclsError, match=r"'texture'.*texture-vs-shape"):
        fetch("texture")


def test_addresses_are_pinned_and_mirrorable() -> None:
    for source in downloads.SOURCES.values():
        assert source.url.startswith("https://") and "/master" not in source.url and "/main" not in source.url
        assert source.place == source.url.removeprefix("https://")
    with pytest.raises(GenclsError):
        _ = Source("bad", "https://example.org/../../etc/passwd", "", "").place


# archives


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return path


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The digests that the archive of these tests should have."""
    table = {
        "a.txt": archives.digest(b"alpha"),
        "d/": archives.digest((archives.digest(b"one") + archives.digest(b"two")).encode()),
        "free.txt": "-",
    }
    monkeypatch.setattr(archives, "manifest", lambda name: table)
    return table


GOOD = {"top/a.txt": b"alpha", "top/d/1": b"one", "top/d/2": b"two", "top/free.txt": b"anything"}


def test_an_archive_is_checked_file_by_file(tmp_path: Path, known: dict[str, str]) -> None:
    archive = Archive(zipped(tmp_path / "z.zip", GOOD), "z", "m")
    archive.verify()
    assert archive.names() == ["a.txt", "d/1", "d/2", "free.txt"] and archive.names("d") == ["d/1", "d/2"]
    assert archive.read("d/2") == b"two"
    for name, content in (("top/a.txt", b"alphb"), ("top/d/1", b"onf")):
        bad = Archive(zipped(tmp_path / "bad.zip", GOOD | {name: content}), "z", "m")
        assert bad.read("free.txt") == b"anything"
        with pytest.raises(GenclsError, match=rf"{name.removeprefix('top/')} in .*SHA-256"):
            bad.read(name.removeprefix("top/"))
        with pytest.raises(GenclsError, match="SHA-256"):
            bad.verify()


def test_a_file_more_or_less_is_noticed(tmp_path: Path, known: dict[str, str]) -> None:
    more = Archive(zipped(tmp_path / "more.zip", GOOD | {"top/extra": b"?"}), "z", "m")
    with pytest.raises(GenclsError, match="not among the files"):
        more.read("extra")
    less = Archive(zipped(tmp_path / "less.zip", {k: v for k, v in GOOD.items() if "/d/" not in k}), "z", "m")
    with pytest.raises(GenclsError, match="lacks d/"):
        less.verify()
    with pytest.raises(GenclsError, match="lacks nothing"):
        more.read("nothing")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "top/../../evil", "C:\\evil", "top/..\\evil"])
def test_a_zip_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(GenclsError, match="leads out"):
        Archive(zipped(tmp_path / "z.zip", {"top/a": b"", name: b""}), "z")


def test_a_cut_zip_is_a_clear_error(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "z.zip", {"top/a": os.urandom(5000), "top/b": b"b"}).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:3000])
    with pytest.raises(GenclsError, match="no whole zip"):
        Archive(tmp_path / "cut.zip", "z")
    flipped = bytearray(whole)
    flipped[1000] ^= 255
    (tmp_path / "flipped.zip").write_bytes(flipped)
    with pytest.raises(GenclsError, match="damaged"):
        Archive(tmp_path / "flipped.zip", "z").verify()


def test_a_downloaded_archive_is_checked_before_it_counts(
    server: Server, tmp_path: Path, known: dict[str, str]
) -> None:
    source = Source("z", f"{server.url}/z.zip", "a test's archive", "none", manifest="m")
    server.content = zipped(tmp_path / "bad.zip", GOOD | {"top/d/1": b"wrong"}).read_bytes()
    with pytest.raises(GenclsError, match="SHA-256"):
        fetch(source)
    assert "z.zip" not in left(tmp_path)
    server.content = zipped(tmp_path / "good.zip", GOOD).read_bytes()
    assert Archive(fetch(source), "z", "m").read("a.txt") == b"alpha"


def test_an_archive_survives_a_fork(tmp_path: Path) -> None:
    archive = Archive(zipped(tmp_path / "z.zip", {f"top/{i}": str(i).encode() * 999 for i in range(50)}), "z")
    children = []
    for _ in range(3):
        if (pid := os.fork()) == 0:
            good = all(archive.read(str(i)) == str(i).encode() * 999 for i in range(50))
            os._exit(0 if good else 1)
        children.append(pid)
    assert all(archive.read(str(i)) == str(i).encode() * 999 for i in range(50))
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]


def tarred(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as bundle:
        for member in members:
            member.size = 4 if member.isfile() else 0
            bundle.addfile(member, io.BytesIO(b"data") if member.isfile() else None)
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        lambda: tarfile.TarInfo("../evil"),
        lambda: tarfile.TarInfo("/tmp/evil"),
        lambda: tarfile.TarInfo("a/../../evil"),
        lambda: link("set/link", "/etc"),
    ],
)
def test_a_tar_that_leads_out_leaves_nothing(tmp_path: Path, member: Callable[[], tarfile.TarInfo]) -> None:
    path = tarred(tmp_path / "t.tar.gz", tarfile.TarInfo("set/a.png"), member())
    with pytest.raises(GenclsError, match="do not use it"):
        unpack(path, tmp_path / "out" / "here")
    assert not list((tmp_path / "out").iterdir()) and not (tmp_path / "evil").exists()


def test_a_tar_is_unpacked_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tarred(tmp_path / "t.tar.gz", *(tarfile.TarInfo(f"set/{i}.png") for i in range(200)))
    unpack(path, tmp_path / "out" / "whole")
    assert len(list((tmp_path / "out" / "whole" / "set").iterdir())) == 200
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(GenclsError, match="no whole tar"):
        unpack(path, tmp_path / "out" / "cut")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["whole"]


def test_the_shipped_digests_are_those_of_the_mirror(mirror: Path) -> None:
    for name in ("model-vs-human", "texture-vs-shape"):
        archive = downloads.archive(name)
        archive.verify()
        listed = {path for path in archives.manifest(name) if not path.endswith("/")}
        assert listed <= set(archive.names())
    assert fetch("gamma-table").stat().st_size == 2128


def test_one_at_a_time_however_many_wait(tmp_path: Path) -> None:
    target, inside = tmp_path / "record", []
    target.write_text("0")

    def add(_: int) -> None:
        with downloads.alone(target):
            inside.append(1)
            assert len(inside) == 1
            number = int(target.read_text())
            time.sleep(0.002)
            target.write_text(str(number + 1))
            inside.clear()

    with ThreadPoolExecutor(8) as several:
        list(several.map(add, range(40)))
    assert target.read_text() == "40" and [p.name for p in tmp_path.iterdir()] == ["record"]
