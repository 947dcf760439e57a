"""Ray: the same scores whoever computes them, and a worker that is killed loses nothing but its chunk."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from typer.testing import CliRunner

import gencls
from gencls.categories import PROMPT
from gencls.cli import app
from gencls.errors import GenclsError
from gencls.likelihood.cluster import RayWorkers
from gencls.likelihood.plans import Exhaustive, Staged
from gencls.likelihood.scoring import Asked, differ, score
from gencls.stimuli.shapes import SHAPES, ShapesWorld

PLAN = Exhaustive(2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of two CPUs on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2, log_to_driver=False, logging_level="ERROR", include_dashboard=False, object_store_memory=100_000_000
    )
    yield
    ray.shutdown()


@pytest.fixture
def two(cluster: None) -> Iterator[RayWorkers]:
    workers = RayWorkers("shapes/pixel", 2)
    yield workers
    workers.close()


@pytest.mark.parametrize("plan", [PLAN, Staged(4, keep=(3,))], ids=["exhaustive", "staged"])
def test_two_workers_give_the_scores_of_one(plan: Exhaustive, two: RayWorkers, tmp_path: Path) -> None:
    photos = ShapesWorld().stimuli("photos", 37)
    alone = score(gencls.load("shapes/pixel").model, photos, plan=plan, seed=3, progress=False)
    apart = score(two, photos, plan=plan, seed=3, record=tmp_path / "two.zarr.zip", progress=False)
    assert differ(apart, alone) < 1e-5
    assert {**apart.attrs} == {**alone.attrs}
    assert apart.drop_vars("error").identical(alone.drop_vars("error"))


def test_workers_say_what_records_call_a_model_that_sees_another_square(cluster: None) -> None:
    workers = RayWorkers("shapes/pixel", 1, crop=False)
    assert (workers.name, workers.title) == ("shapes/pixel", "shapes/pixel (whole image)")
    workers.close()


def test_a_killed_worker_loses_its_chunk_only_and_it_is_done_again(two: RayWorkers) -> None:
    photos = ShapesWorld().stimuli("photos", 40)
    chunks = [([photos[i].image], [photos[i].name]) for i in range(40)]
    asking = two.ask(Asked(SHAPES, PROMPT, PLAN, 0))
    victims, found = two.processes(), {}
    for number, values in asking.each(iter(chunks)):
        if len(found) == 3:
            os.kill(victims[0], signal.SIGKILL)
        assert number not in found
        found[number] = values
    assert sorted(found) == list(range(40))
    assert victims[0] not in two.processes() and victims[1] in two.processes()
    alone = score(gencls.load("shapes/pixel").model, photos, plan=PLAN, progress=False)["error"].values
    np.testing.assert_allclose(np.concatenate([found[i] for i in range(40)]), alone, rtol=1e-5)


def test_a_chunk_that_kills_every_worker_is_given_up(two: RayWorkers) -> None:
    asking = two.ask(Asked(SHAPES, PROMPT, PLAN, 0))
    start = two._start

    class Doomed:
        """A worker whose machine goes down whenever it is asked to score."""

        def __init__(self) -> None:
            self.actor = start()
            self.score = self

        def remote(self, *given: object) -> object:
            ray.kill(self.actor)
            return self.actor.score.remote(*given)

    two.actors[:] = [Doomed(), Doomed()]
    two._start = Doomed
    with pytest.raises(GenclsError, match=r"3 Ray workers died over the same 1 stimuli.*kept: run again"):
        list(asking.each(iter([([np.zeros((32, 32, 3), np.uint8)], ["a"])])))
    two.actors[:] = [worker.actor for worker in two.actors]


def test_what_a_worker_cannot_do_is_said_as_if_it_were_here(cluster: None) -> None:
    workers = RayWorkers("shapes/nothing", 1)
    with pytest.raises(GenclsError, match="no model 'shapes/nothing'"):
        workers.ask(Asked(SHAPES, PROMPT, PLAN, 0))
    workers.close()
    with pytest.raises(GenclsError, match="9 workers: the Ray cluster has 0 GPUs and 2 CPUs; ask for at most 2"):
        RayWorkers("shapes/pixel", 9)


def test_the_command_answers_through_ray_as_without_it(cluster: None, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(ShapesWorld().stimuli("photos", 1)[0].image).save(tmp_path / "a.png")
    given = ["classify", str(tmp_path / "a.png"), "--model", "shapes/resnet", "--json"]
    plain, spread = (CliRunner().invoke(app, [*given, *more]) for more in ([], ["--engine", "ray", "--workers", "1"]))
    assert plain.exit_code == spread.exit_code == 0, spread.output
    assert plain.stdout == spread.stdout
    wrong = CliRunner().invoke(app, [*given, "--engine", "slurm"])
    assert wrong.exit_code == 2
