"""Archives read safely: member by member, each checked against a shipped table of digests."""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path

from gencls.errors import GenclsError


@functools.cache
def manifest(name: str) -> dict[str, str]:
    """Path inside the archive → the first 32 hexadecimal digits of its SHA-256.

    A path that ends in "/" stands for all files directly in that folder: the digest of their digests, in the
    order of their names. The digest "-" stands for a file that may vary, which is then not checked.
    """
    packed = (Path(__file__).parent / "data" / "manifests" / f"{name}.gz").read_bytes()
    lines = gzip.decompress(packed).decode().splitlines()
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


def digest(content: bytes) -> str:
    """The digest that manifests hold: 128 bits of SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()[:32]


class Archive:
    """A zip archive, read member by member without being unpacked; each is checked against the manifest.

    Parameters
    ----------
    path : the archive
    source : what it is called in messages
    manifest_name : the table of digests in `gencls/data/manifests`; empty: only the archive's CRCs count

    Names leave out the one folder that holds everything (GitHub's `repository-commit/`). A name that leads
    out of the archive (absolute, or with `..`) makes it all an error. Usable after a fork and from threads.
    """

    def __init__(self, path: Path, source: str, manifest_name: str = "") -> None:
        self.source, self.path = source, path
        self._digests = manifest(manifest_name) if manifest_name else {}
        self._good_folders: set[str] = set()
        self._pid, self._zip = os.getpid(), self._open()
        inside = [i.filename for i in self._zip.infolist() if not i.is_dir()]
        for name in inside:
            if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
                raise GenclsError(f"{path} holds {name!r}, which leads out of the archive; do not use this file")
        tops = {name.split("/", 1)[0] for name in inside if "/" in name}
        top = f"{tops.pop()}/" if len(tops) == 1 and all("/" in name for name in inside) else ""
        self._members = {name.removeprefix(top): name for name in inside}
        self._folders: dict[str, list[str]] = {}
        for name in sorted(self._members):
            self._folders.setdefault(name.rpartition("/")[0] + "/", []).append(name)

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError) as error:
            raise GenclsError(f"{self.path} is no whole zip archive ({error}); delete it and fetch it again") from error

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def names(self, folder: str = "", ending: str = "") -> list[str]:
        """The names of all files below a folder, sorted."""
        folder = folder.rstrip("/") + "/" if folder else ""
        return sorted(n for n in self._members if n.startswith(folder) and n.endswith(ending))

    def read(self, name: str) -> bytes:
        """One file's content, checked."""
        content = self._raw(name)
        if self._digests:
            self._check(name, content)
        return content

    def _raw(self, name: str) -> bytes:
        if name not in self._members:
            raise GenclsError(f"{self.path} lacks {name}; delete it and fetch '{self.source}' again")
        if self._pid != os.getpid():  # a forked worker must not share the file's position
            self._pid, self._zip = os.getpid(), self._open()
        try:
            return self._zip.read(self._members[name])
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
            raise GenclsError(f"{name} in {self.path} is damaged ({error}); fetch it again") from error

    def _check(self, name: str, content: bytes) -> None:
        folder = name.rpartition("/")[0] + "/"
        if name in self._digests:
            good = self._digests[name] in ("-", digest(content))
        elif folder in self._digests:
            if folder not in self._good_folders:
                together = "".join(digest(self._raw(n)) for n in self._folders[folder])
                if digest(together.encode()) == self._digests[folder]:
                    self._good_folders.add(folder)
            good = folder in self._good_folders
        else:
            raise GenclsError(f"{name} in {self.path} is not among the files that gencls knows of '{self.source}'")
        if not good:
            raise GenclsError(
                f"{name} in {self.path} is not what was pinned (its SHA-256 differs); "
                f"delete the archive and fetch '{self.source}' again"
            )

    def verify(self) -> None:
        """Read every file that the manifest lists and check it; without a manifest, every file's CRC."""
        if not self._digests:
            for name in self._members:
                self._raw(name)
        for path in self._digests:
            if not path.endswith("/"):
                self.read(path)
            elif path in self._folders:
                self.read(self._folders[path][0])
            else:
                raise GenclsError(f"{self.path} lacks {path}; fetch '{self.source}' again")


def check_tar(path: Path) -> None:
    """Read a `.tar.gz` to its end; a cut or damaged one is an error."""
    try:
        with tarfile.open(path) as bundle:
            for _ in bundle:
                pass
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise GenclsError(f"{path} is no whole tar.gz archive ({error}); fetch it again") from error


def unpack(path: Path, folder: Path) -> None:
    """Unpack a `.tar.gz` into a folder that does not exist yet: whole, or not at all.

    Only plain files whose names stay inside are accepted: a link, a device, `/` in front or `..` is an error.
    """
    half = folder.with_name(f"{folder.name}.{os.getpid()}.half")
    try:
        half.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path) as bundle:
            for member in bundle:
                if not (member.isfile() or member.isdir()):
                    raise GenclsError(f"{path} holds {member.name!r}, which is no plain file; do not use it")
                if member.name.startswith("/") or ".." in member.name.split("/"):
                    raise GenclsError(f"{path} holds {member.name!r}, which leads out of it; do not use it")
                bundle.extract(member, half, filter="data")
        half.rename(folder)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise GenclsError(f"{path} is no whole tar.gz archive ({error}); delete it and fetch it again") from error
    except OSError as error:
        if not folder.is_dir():  # another process may have been first
            why = error.strerror or error
            raise GenclsError(
                f"{path} cannot be unpacked to {folder}: {why}; make room, or set GENCLS_CACHE"
            ) from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
