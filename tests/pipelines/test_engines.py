"""Where the pieces of a preparation run: processes, a Ray cluster of two nodes."""

import functools
import hashlib
import os
import pathlib
import sys
import time

import pytest

from keras_st.specs import InputError, Training
from pipelines import engines, prepare
from pipelines.listing import Listing, Video
from pipelines.preparation import Preparation
from tests.conftest import ROOT, ramp, write_video


def test_processes():
    assert sorted(engines.run(abs, [-1, 2, -3], workers=2)) == [(-3, 3), (-1, 1), (2, 2)]
    assert list(engines.run(abs, [-1, 2, -3], workers=1)) == [(-1, 1), (2, 2), (-3, 3)]
    assert list(engines.run(abs, [])) == []
    with pytest.raises(InputError, match="A worker died"):
        list(engines.run(os._exit, [1, 2], workers=2))
    with pytest.raises(InputError, match="epochs=-?[01]"):
        list(engines.run(Training, [0, -1], workers=2))


def test_other_engines_are_refused():
    with pytest.raises(InputError, match="engine='slurm'"):
        engines.run(abs, [1], engine="slurm")


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="keras_st\\[cluster\\]"):
        list(engines.run(abs, [1], engine="ray", address="auto"))


@pytest.fixture(scope="module")
def cluster():
    """Address of a Ray cluster of two nodes with a core each, on loopback."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def test_two_nodes_of_a_ray_cluster_write_the_same_bytes(cluster, tmp_path):
    import ray

    def node_of(n):
        time.sleep(0.5)
        return ray.get_runtime_context().get_node_id()

    assert len({node for _, node in engines.run(node_of, range(4), engine="ray", address=cluster)}) == 2
    for n in range(4):
        write_video(tmp_path / "in" / f"{n}.avi", ramp(3 + n))
    (tmp_path / "in" / "4.avi").write_text("no video")
    videos = [Video(str(path), path.name, n % 2) for n, path in enumerate(sorted((tmp_path / "in").iterdir()))]
    listing = Listing({"train": videos}, ("a", "b"))
    write = functools.partial(prepare.prepare, listing, how=Preparation(), shards=2)
    here = write(tmp_path / "here", workers=1)
    there = write(tmp_path / "there", engine="ray", address=cluster)
    assert here["shards"] == there["shards"] and here["skipped"] == there["skipped"] and len(here["skipped"]) == 1
    for name, shard in there["shards"].items():
        content = pathlib.Path(tmp_path, "there", name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == shard["sha256"]
    with pytest.raises(InputError, match=r"4\.avi"):
        write(tmp_path / "stopped", engine="ray", address=cluster, stop=True)


def test_no_cluster_is_one_line():
    pytest.importorskip("ray")
    with pytest.raises(InputError, match="Ray cluster at 127.0.0.1:1"):
        list(engines.run(abs, [1], engine="ray", address="127.0.0.1:1"))
