"""Public data: found in a mirror or the cache, otherwise downloaded, and checked before it is used.

Everything that gencls reads from elsewhere is a `Source`: a pinned URL and the digests of its content.
`fetch` gives the file's path. It looks, in this order, in

1. the mirror, if `GENCLS_MIRROR` names a folder laid out as host/path (read in place, never copied),
2. the cache (`GENCLS_CACHE`, or the platform's cache folder), laid out the same way: a mirror itself,
3. the network, or the mirror, if `GENCLS_MIRROR` is an http(s) address; `GENCLS_OFFLINE=1` leaves this out.

A download goes to a `.part` file, is resumed where it stopped, and takes its name only when it is whole and
its digests agree.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from gencls.archives import Archive, check_tar, unpack
from gencls.errors import GenclsError

if sys.platform != "win32":  # there, two downloads of one file at once are not kept apart
    import fcntl

#: Seconds to connect, and seconds without a byte before a download counts as stalled.
TIMEOUT = (10.0, 30.0)
#: Times that a download is tried; seconds to wait before the second, doubled before each further one.
ATTEMPTS, WAIT = 4, 1.0


@dataclass(frozen=True)
class Source:
    """Something public that gencls reads.

    `sha256` is the digest of the file itself; an archive whose bytes may vary (GitHub makes them anew) has a
    `manifest` instead, the digests of the files inside, shipped as `gencls/data/manifests/<manifest>.gz`.
    A source with neither is pinned by its URL alone.
    """

    name: str
    url: str
    about: str
    licence: str
    sha256: str = ""
    manifest: str = ""

    @property
    def place(self) -> str:
        """Where a mirror keeps it: host/path."""
        parts = urlsplit(self.url)
        place = PurePosixPath(parts.netloc.replace(":", "_"), parts.path.lstrip("/"))
        if not parts.netloc or ".." in place.parts:
            raise GenclsError(f"'{self.name}': {self.url} is no address of a file")
        return str(place)


_GITHUB = "https://github.com"
_MVH, _TVS = "79ed7cd1d9ac3a114e71b6638f0a98bdd627316c", "ccd0c01d42c0a8a834e90ec141e7f24fa915dc23"
_GEN = "https://raw.githubusercontent.com/rgeirhos/generalisation-humans-DNNs/0b88343536ec21acc2d635c0e325f827111e149a/code"
#: The sets whose stimuli are released by model-vs-human alone.
RELEASED_SETS = (
    *(
        "colour",
        "contrast",
        "high-pass",
        "low-pass",
        "phase-scrambling",
        "power-equalisation",
        "false-colour",
    ),
    *("rotation", "eidolonI", "eidolonII", "eidolonIII", "uniform-noise", "sketch", "stylized"),
)

#: Every source, by name.
SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            "model-vs-human",
            f"{_GITHUB}/bethgelab/model-vs-human/archive/{_MVH}.zip",
            "85,120 human trials on the 17 stimulus sets (Geirhos et al. 2021)",
            "code MIT; data as its LICENSES_OVERVIEW says",
            manifest="model-vs-human",
        ),
        Source(
            "texture-vs-shape",
            f"{_GITHUB}/rgeirhos/texture-vs-shape/archive/{_TVS}.zip",
            "cue-conflict, edge and silhouette stimuli, people's and CNNs' trials (Geirhos et al. 2019)",
            "CC BY 4.0",
            manifest="texture-vs-shape",
        ),
        Source(
            "tiny-imagenet",
            "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
            "photographs of 200 ImageNet classes at 64×64 (Stanford CS231n)",
            "ImageNet's terms: research",
            manifest="tiny-imagenet",
        ),
        Source(
            "gamma-table",
            f"{_GEN}/x_gamma_function.npy",
            "the monitor's gamma table of the false-colour set (Geirhos et al. 2018)",
            "CC BY 4.0",
            sha256="8a9680db77b2a24156a19d3fd8e82187aee1995ea8de6b048f354ba44b6196a2",
        ),
        Source(
            "mean-spectrum",
            f"{_GEN}/mean_power_spectrum_grey.npy",
            "the mean amplitude spectrum of the power-equalisation set (Geirhos et al. 2018)",
            "CC BY 4.0",
            sha256="e174b43499e15bb9be6dc798efd5a8565abd064feaf58f2f5e269e4795b4170c",
        ),
        *(
            Source(
                f"stimuli-{name}",
                f"{_GITHUB}/bethgelab/model-vs-human/releases/download/v0.1/{name}.tar.gz",
                f"the stimuli of the set '{name}' (Geirhos et al. 2021)",
                "as model-vs-human's LICENSES_OVERVIEW says",
            )
            for name in RELEASED_SETS
        ),
    )
}


def source(name: str) -> Source:
    """The source of this name; an unknown one is an error that lists them all."""
    if name not in SOURCES:
        raise GenclsError(f"no data source is called '{name}'; there are {', '.join(SOURCES)}")
    return SOURCES[name]


def cache_folder() -> Path:
    """`GENCLS_CACHE`, or `gencls` in the platform's cache folder. It need not exist yet."""
    if chosen := os.environ.get("GENCLS_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gencls"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "gencls"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gencls"


def mirror() -> str:
    """What `GENCLS_MIRROR` names: a folder or an http(s) address; empty where it is not set. GenclsError where it is neither."""
    where = os.environ.get("GENCLS_MIRROR", "").rstrip("/")
    if where and not _is_address(where) and not Path(where).expanduser().is_dir():
        raise GenclsError(f"GENCLS_MIRROR is {where}, which is no folder; correct it or unset it")
    return where


def _is_address(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def here() -> list[str]:
    """The names of the sources that need not be downloaded; their content is not looked at."""
    return [name for name, wanted in SOURCES.items() if _lying(wanted)]


def find(wanted: str | Source) -> Path | None:
    """Where the source lies already, in the mirror's folder or the cache, its content as pinned; None if it must be downloaded."""
    wanted = source(wanted) if isinstance(wanted, str) else wanted
    found = _lying(wanted)
    return _checked(wanted, found) if found else None


def _lying(wanted: Source) -> Path | None:
    where = mirror()
    folders = [Path(where).expanduser()] if where and not _is_address(where) else []
    return next((path for f in (*folders, cache_folder()) if (path := f / wanted.place).is_file()), None)


def fetch(wanted: str | Source, *, progress: bool = True) -> Path:
    """The path of a source's file: in the mirror or the cache if it is there, else downloaded into the cache.

    Parameters
    ----------
    wanted : a name in `SOURCES`, or a Source of one's own
    progress : show a bar on stderr while downloading

    Raises GenclsError, in one sentence, where it is neither here nor to be had, where its content is not what
    was pinned, or where it cannot be written. Nothing half downloaded is ever returned.
    """
    wanted = source(wanted) if isinstance(wanted, str) else wanted
    if found := find(wanted):
        return found
    where = mirror()
    how = (
        f"with a network run `gencls data fetch {wanted.name}`, "
        f"or put the file at {wanted.place} in a folder that GENCLS_MIRROR names"
    )
    if where and not _is_address(where):
        raise GenclsError(
            f"{wanted.about} ('{wanted.name}') is missing: neither the folder that GENCLS_MIRROR names nor the cache holds {wanted.place}; "
            f"put it there, or unset GENCLS_MIRROR and run `gencls data fetch {wanted.name}`"
        )
    if os.environ.get("GENCLS_OFFLINE", "") not in ("", "0"):
        raise GenclsError(f"{wanted.about} ('{wanted.name}') is missing, and GENCLS_OFFLINE is set; {how}")
    url = f"{where}/{wanted.place}" if where else wanted.url
    target = cache_folder() / wanted.place
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone(target):
            if not target.is_file():
                _download(wanted, url, target, how, progress)
    except OSError as error:
        raise GenclsError(
            f"'{wanted.name}' could not be written to {target}: {error.strerror or error}; "
            "make room there, or let GENCLS_CACHE name another folder (what has arrived is kept and resumed)"
        ) from error
    return target


@contextlib.contextmanager
def alone(target: Path, busy: str = "") -> Iterator[None]:
    """One process at a time downloads, or writes, one file; the others wait and then find it, or raise GenclsError with the sentence `busy`."""
    if sys.platform == "win32":
        yield
        return
    lock = target.with_name(target.name + ".lock")
    with contextlib.ExitStack() as held:
        while True:
            handle = held.enter_context(lock.open("w"))
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
            except BlockingIOError:
                raise GenclsError(busy) from None
            with contextlib.suppress(FileNotFoundError):
                if lock.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                    break  # else the one before has taken this file away, and somebody may hold a new one
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _download(wanted: Source, url: str, target: Path, how: str, progress: bool) -> None:
    """Download `url` to `target` through a `.part` file, resuming and trying again where that can help."""
    part = target.with_name(target.name + ".part")
    failure = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(WAIT * 2 ** (attempt - 1))
        try:
            failure = _attempt(wanted, url, part, progress)
        except (
            requests.Timeout,
            requests.ConnectionError,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            if "timed out" in str(error):
                failure = f"{url} stalled: nothing came for {TIMEOUT[1]:g} s"
            else:
                failure = f"the connection to {urlsplit(url).netloc} failed or broke off"
        except requests.RequestException as error:
            raise GenclsError(f"'{wanted.name}' cannot be downloaded from {url}: {error}; {how}") from error
        if not failure:
            break
    else:
        raise GenclsError(f"{wanted.about} ('{wanted.name}') is missing, and {failure} ({ATTEMPTS} times); {how}")
    try:
        _check(wanted, part)
    except GenclsError:
        _discard(part)
        raise
    part.replace(target)
    _validator(part).unlink(missing_ok=True)


def _validator(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator(part).unlink(missing_ok=True)


def _attempt(wanted: Source, url: str, part: Path, progress: bool) -> str:
    """One attempt, which continues an earlier one if the server still has the same file.

    Returns what went wrong if another attempt may help, "" if the file is whole; raises if none can help.
    """
    headers = {"Accept-Encoding": "identity"}
    have, tag = 0, ""
    if part.is_file() and _validator(part).is_file():
        with contextlib.suppress(ValueError):  # a note cut short, or no text
            noted = json.loads(_validator(part).read_text())
            if isinstance(noted, dict) and noted.get("url") == url:
                have, tag = part.stat().st_size, noted.get("tag", "")
    if have and tag:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as reply:
        if reply.status_code == 416:  # what is here is no beginning of what is there
            _discard(part)
            return f"{url} could not be resumed"
        if reply.status_code >= 500 or reply.status_code in (408, 429):
            return f"{url} answers {reply.status_code} {reply.reason}"
        if reply.status_code not in (200, 206):
            raise GenclsError(
                f"{wanted.about} ('{wanted.name}') is missing, and {url} answers "
                f"{reply.status_code} {reply.reason}; see whether the address still stands, "
                f"or put the file at {wanted.place} in a folder that GENCLS_MIRROR names"
            )
        resumed = reply.status_code == 206
        if resumed and not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            _discard(part)
            return f"{url} sent another range than was asked for"
        if not resumed:
            have = 0
            tag = reply.headers.get("ETag", "")
            tag = reply.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
            _validator(part).write_text(json.dumps({"url": url, "tag": tag}))
        length = reply.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        with (
            part.open("ab" if resumed else "wb") as out,
            tqdm(
                total=total,
                initial=have,
                desc=wanted.name,
                unit="B",
                unit_scale=True,
                file=sys.stderr,
                disable=not progress,
            ) as bar,
        ):
            for block in reply.iter_content(1 << 14):
                out.write(block)
                bar.update(len(block))
    size = part.stat().st_size
    if total is not None and size != total:
        return f"{url} broke off after {size:,} of {total:,} bytes"
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@functools.lru_cache(maxsize=64)
def _sha256_once(path: Path, size: int, changed: int) -> str:
    return _sha256(path)


def _checked(wanted: Source, path: Path) -> Path:
    """The path, once the file's own digest (if it has one) is seen to agree."""
    if wanted.sha256:
        state = path.stat()
        _agree(wanted, path, _sha256_once(path, state.st_size, state.st_mtime_ns))
    return path


def _agree(wanted: Source, path: Path, digest: str) -> None:
    if digest != wanted.sha256:
        raise GenclsError(
            f"{path} is not the '{wanted.name}' that was pinned: its SHA-256 is {digest[:12]}…, "
            f"not {wanted.sha256[:12]}…; delete it and fetch it again"
        )


def _check(wanted: Source, path: Path) -> None:
    """Everything that can be known of a finished download: its digest, or that of every file inside."""
    if wanted.sha256:
        _agree(wanted, path, _sha256(path))
    elif wanted.url.endswith(".zip"):
        with Archive(path, wanted.name, wanted.manifest) as opened:
            opened.verify()
    elif wanted.url.endswith(".tar.gz"):
        check_tar(path)


@functools.lru_cache(maxsize=8)
def _archive(name: str, path: Path, size: int, changed: int) -> Archive:
    return Archive(path, name, source(name).manifest)


def archive(name: str, *, progress: bool = True) -> Archive:
    """The zip archive of this name in `SOURCES`, fetched if need be, opened once."""
    path = fetch(name, progress=progress)
    state = path.stat()
    return _archive(name, path, state.st_size, state.st_mtime_ns)


def unpacked(name: str, *, progress: bool = True) -> Path:
    """The folder in the cache into which the `.tar.gz` of this name was unpacked, whole or not at all."""
    path = fetch(name, progress=progress)
    state = path.stat()
    version = _sha256_once(path, state.st_size, state.st_mtime_ns)[:16]
    folder = cache_folder() / "unpacked" / path.name.removesuffix(".tar.gz") / version
    if not folder.is_dir():
        unpack(path, folder)
    return folder
