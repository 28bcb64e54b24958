"""The benchmark of training on a cluster measures both ways and writes what others read."""

import importlib.util
import json

import pytest
from result_keys import BENCH_CLUSTER, missing_keys

from rl_edge_train.__main__ import main

# Agents of the presets are compiled four times.
pytestmark = pytest.mark.timeout(1500)


@pytest.mark.skipif(
    importlib.util.find_spec('ray') is None,  # not imported: it reads the environment then
    reason='the extra ray is not installed: tools/env --with ray',
)
def test_both_ways_and_the_ceilings_are_measured(tmp_path):
    out = tmp_path / 'bench_cluster.json'

    assert main(['bench-cluster', '--seconds', '0.5', '--out', str(out)]) == 0

    report = json.loads(out.read_text())
    assert missing_keys(report, BENCH_CLUSTER) == []
    # 27 inputs, 8 actions, reward, the next 27, and two flags; 4 bytes each.
    assert report['bytes_per_step'] == 4 * (27 + 8 + 1 + 27 + 2)
    measured = [*report['ppo'].values(), *report['sac'].values(), *report['ceiling'].values()]
    assert min(measured) > 0
