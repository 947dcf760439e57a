"""`hf:REPO[@REVISION]`, from a small hub that speaks the real one's protocol on this machine, through the real client."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import gencls
from gencls.errors import GenclsError
from gencls.models import hub, tiny, zoo

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny-sd"
    tiny.build("sd").save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def pickles(folder: Path) -> Path:
    """The same, its weights as pickles only."""
    path = folder.with_name("tiny-pickles")
    shutil.copytree(folder, path)
    for file in path.rglob("*.safetensors"):
        stem = "pytorch_model" if file.stem == "model" else file.stem
        torch.save(load_file(file), file.with_name(f"{stem}.bin"))
        file.unlink()
    return path


class _Hub(BaseHTTPRequestHandler):
    """Repositories that are folders, and the answers of the hub where there is nothing to be had."""

    repos: dict[str, Path]
    given: list[str]  # the files that were asked for, and how

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        api = path.startswith("api/models/")
        parts = path.removeprefix("api/models/").split("/")
        repo, rest = "/".join(parts[:2]), parts[2:]
        if repo == "me/broken":
            return self._answer(503)
        if repo not in self.repos:
            return self._answer(401 if repo == "me/private" else 404, code="RepoNotFound")
        files = sorted(p for p in self.repos[repo].rglob("*") if p.is_file())
        revision = rest[1] if len(rest) > 1 else "main"
        if revision not in ("main", COMMIT):
            return self._answer(404, code="RevisionNotFound")
        names = [p.relative_to(self.repos[repo]).as_posix() for p in files]
        if api and rest[:1] == ["tree"]:
            content = [
                {"type": "file", "path": n, "size": p.stat().st_size, "oid": hashlib.sha1(p.read_bytes()).hexdigest()}
                for n, p in zip(names, files, strict=True)
            ]
            return self._answer(200, json.dumps(content).encode())
        if api:
            found = {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}
            return self._answer(200, json.dumps(found).encode())
        if repo == "me/gated":
            return self._answer(401, code="GatedRepo")
        name = "/".join(rest[2:])
        if name not in names:
            return self._answer(404, code="EntryNotFound")
        self.given.append(f"{self.command} {name}")
        self._answer(200, (self.repos[repo] / name).read_bytes())

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes = b"{}", code: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server(folder: Path, pickles: Path) -> Iterator[str]:
    classifier = folder.with_name("tiny-vit")
    tiny.build("vit").save_pretrained(classifier)
    _Hub.repos = {"me/tiny-sd": folder, "me/gated": folder, "me/pickles": pickles, "me/empty": folder / "scheduler"}
    _Hub.repos["me/tiny-vit"] = classifier
    _Hub.given = []
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()


_ASK = """
import json, sys
import gencls
from gencls.likelihood.plans import Exhaustive
from gencls.models import zoo
for model in sys.argv[1:]:
    try:
        if model.startswith("world:"):
            world = gencls.world("shapes")
            scored = world.scores(world.stimuli("photos", 2), model.removeprefix("world:"), plan=Exhaustive(1))
            print(json.dumps({"said": [scored.origin, scored.scores.attrs["model_digest"]]}))
            continue
        observer = gencls.load(model.removeprefix("pickles:"), allow_pickles=model.startswith("pickles:"))
        said = [type(observer.model.pipeline).__name__, zoo.digest(observer.id), zoo.is_here(observer.id)]
    except gencls.GenclsError as error:
        said = str(error)
    print(json.dumps({"said": said}))
"""


def _run(address: str, home: Path, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    """Python in a fresh process whose hub is at this address."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    environment |= {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "GENCLS_CACHE": str(home / "gencls"),
        "OMP_NUM_THREADS": "1",
        **more,
    }
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


def _ask(address: str, home: Path, *models: str, **more: str) -> list[object]:
    """What becomes of each id in a fresh process whose hub is at this address."""
    done = _run(address, home, ["-c", _ASK, *models], **more)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["said"] for line in done.stdout.splitlines() if line.startswith('{"said"')]


def test_a_model_of_the_hub_is_fetched_and_what_cannot_be_had_is_said(server: str, tmp_path: Path) -> None:
    said = _ask(
        server, tmp_path, "world:hf:me/tiny-sd", "hf:me/tiny-sd", f"hf:me/tiny-sd@{COMMIT}", "hf:me/tiny-sd@gone", "hf:me/gated", "hf:me/missing",
        "hf:me/private", "hf:me/broken", "hf:me/empty", "hf:me/pickles", "pickles:hf:me/pickles", "hf:me",
    )  # fmt: skip
    scored, ok, pinned, gone, gated, missing, private, broken, empty, refused, allowed, _ = said
    assert scored == ["computed", COMMIT]  # a chapter downloads what it is asked for
    assert ok == pinned == ["StableDiffusionPipeline", COMMIT, True]
    assert allowed == ok
    assert "no revision 'gone'" in gone and "/me/tiny-sd/commits/main" in gone
    assert "gated" in gated and "accept its terms" in gated and "no token is here" in gated
    for nothing in (missing, private):
        assert "has no me/" in nothing and "private" in nothing and "no token is here" in nothing
    assert "answers 503" in broken
    assert "neither a model_index.json" in empty
    assert "pickles" in refused and "--allow-pickles" in refused and "run code" in refused
    assert all("\n" not in text for text in said if isinstance(text, str))
    # What was fetched needs the hub no more; the same ids, with a token that is refused and nothing to reach.
    again = _ask(
        "http://127.0.0.1:9", tmp_path, "hf:me/tiny-sd", f"hf:me/tiny-sd@{COMMIT}", "hf:me/gated", "hf:me/other"
    )
    assert again[:2] == [ok, ok]
    assert all("cannot be reached" in text and "local folder" in text for text in again[2:])


def test_a_dry_run_fetches_configurations_and_counts_what_the_whole_model_would(
    server: str, folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a.png")

    def told(model: str, address: str = server, home: str = "home", **more: str) -> dict[str, str]:
        words = [str(tmp_path / "a.png"), "--model", model, "--classes", "cat,dog", "--dry-run", "--device", "cpu"]
        done = _run(address, tmp_path / home, ["-m", "gencls.cli", "classify", *words], **more)
        if done.returncode:
            assert (done.returncode, done.stdout) == (2, "")
            return {"error": done.stderr}
        return dict(line.split(": ", 1) for line in done.stdout.splitlines())

    whole = told(str(folder))
    _Hub.given.clear()
    found = told("hf:me/tiny-sd")
    same = ("network evaluations", "network", "memory", "scores")
    assert {name: found[name] for name in same} == {name: whole[name] for name in same}
    assert found["time"].startswith("about ")
    count, size = found["weights"].partition(" numbers, ")[::2]
    assert size.endswith("counted: only configurations and tokenizers were fetched")
    saved = int(whole["weights"].partition(" ")[0].replace(",", ""))
    assert int(count.replace(",", "")) == pytest.approx(saved, rel=1e-3)  # buffers may be saved, too
    assert "GET unet/config.json" in _Hub.given and not any("safetensors" in name for name in _Hub.given)
    assert _ask("http://127.0.0.1:9", tmp_path / "home", "hf:me/tiny-sd")[0].startswith("hf:me/tiny-sd is not on this")

    classifier = told("hf:me/tiny-vit")
    assert classifier["network evaluations"] == "1"  # and not what it were for a diffusion model
    assert {classifier[n] for n in ("network", "memory", "time")} == {"not known before the model is on this machine"}
    # Without the hub: what has been fetched is enough, and of anything else the number of evaluations is what can be said.
    gone = "http://127.0.0.1:9"
    assert {name: told("hf:me/tiny-sd", gone)[name] for name in same} == {name: whole[name] for name in same}
    nothing = told("hf:me/tiny-sd", gone, "elsewhere")
    assert nothing["network evaluations"] == "32 if it is a diffusion model"
    for name in ("network", "memory", "time"):
        assert nothing[name].startswith("not known: hf:me/tiny-sd is not on this machine, and")
        assert "cannot be reached" in nothing[name]
    for model, why in (("me/gated", "is gated"), ("me/missing", "the hub has no me/missing"), ("me/empty", "neither")):
        assert why in told(f"hf:{model}")["error"]


def test_without_a_network_one_sentence_says_so(tmp_path: Path) -> None:
    """This machine's own: the address of the real hub, whatever becomes of it, in offline mode."""
    (said,) = _ask("https://huggingface.co", tmp_path, "hf:stabilityai/stable-diffusion-2-1", HF_HUB_OFFLINE="1")
    assert "hf:stabilityai/stable-diffusion-2-1 is not on this machine" in said
    assert "\n" not in said


@pytest.mark.parametrize("wrong", ["hf:", "hf:a/b/c", "hf:a/b@", "hf:a b/c", "hf:../x"])
def test_what_is_no_id_of_the_hub_is_refused(wrong: str) -> None:
    with pytest.raises(GenclsError, match="hf:OWNER/NAME"):
        hub.parse(wrong)


def test_an_id_has_a_repository_and_perhaps_a_revision() -> None:
    assert hub.parse("hf:stabilityai/stable-diffusion-2-1") == ("stabilityai/stable-diffusion-2-1", None)
    assert hub.parse("hf:a/b@refs/pr/3") == ("a/b", "refs/pr/3")
    assert hub.parse("hf:gpt2@v1.0") == ("gpt2", "v1.0")


# -- local folders -----------------------------------------------------------------------------------------------------


def test_a_local_folder_answers_as_the_pipeline_it_was_saved_from(folder: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    from gencls.classify import Observer
    from gencls.models.diffusion import DiffusionModel

    opened = gencls.load(str(folder))
    direct = Observer.__new__(Observer)
    direct.id, direct.model = opened.id, DiffusionModel(tiny.build("sd"), opened.id)
    for observer in (opened, direct):
        assert observer.model.adapter.size == 32
    ours, theirs = (o.classify([image], classes=["cat", "dog", "car"]) for o in (opened, direct))
    np.testing.assert_allclose(ours.scores["error"], theirs.scores["error"], rtol=1e-5)


def test_weights_that_are_only_pickles_are_refused_unless_allowed(pickles: Path) -> None:
    with pytest.raises(GenclsError, match=r"only as pickles.*--allow-pickles"):
        zoo.open_model(str(pickles))
    opened = zoo.open_model(str(pickles), allow_pickles=True)
    assert opened.adapter.net.config.sample_size == 16


def test_a_pipeline_that_lacks_a_part_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "part")
    shutil.rmtree(tmp_path / "part" / "vae")
    with pytest.raises(GenclsError, match=r"part of the pipeline.*missing or broken"):
        zoo.open_model(str(tmp_path / "part"))


def test_the_documented_command_makes_a_folder_that_classifies_a_photo(tmp_path: Path) -> None:
    """As book/add_a_model.md has it, in a folder of the user's own."""
    commands = [
        line
        for line in (Path(__file__).parents[2] / "book" / "add_a_model.md").read_text().splitlines()
        if "tiny-sd" in line and line.startswith(("python -m", "gencls"))
    ]
    assert [line.split()[0] for line in commands] == ["python", "gencls"]
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(tmp_path / "dog.jpg")
    for line in commands:
        words = line.replace("gencls classify", "-m gencls.cli classify").split()
        done = subprocess.run(
            [sys.executable, *(w for w in words if w != "python")], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    header, row = done.stdout.splitlines()
    assert header.split() == ["image", "answer", "probability", "next"]
    assert row.startswith("dog.jpg")
    assert "warning" not in done.stderr.lower()
