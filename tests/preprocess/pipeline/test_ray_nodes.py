"""Several Ray nodes on this machine, one of which is killed while shards are made."""

import threading
import time

import pytest

from .stand_in import build, contents


@pytest.mark.slow
def test_a_lost_node_costs_its_shards_in_work_and_nothing_else(tmp_path, raw):
    ray = pytest.importorskip("ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    build(tmp_path / "whole", raw, clips=43)
    out = tmp_path / "out"
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    killed = threading.Event()
    shards = []
    try:
        other = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")

        def kill():
            deadline = time.monotonic() + 120
            while len(shards) < 2 and time.monotonic() < deadline:
                shards[:] = (out / "shards").glob("*.tar")
                time.sleep(0.05)
            cluster.remove_node(other, allow_graceful=False)
            killed.set()

        killer = threading.Thread(target=kill)
        killer.start()
        build(out, raw, clips=43, engine="ray", serial=False, workers=2, seconds=0.2)
        killer.join()
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert killed.is_set()
    assert 2 <= len(shards) < 11  # in the middle: eleven shards are planned
    assert contents(out) == contents(tmp_path / "whole")
