"""The link between two hosts is cut and mended."""

import json
import subprocess
import sys

import pytest
from fault_harness import ENVIRONMENT

from rl_edge_experiments.network import missing_rights


@pytest.mark.faults(
    'network cut between two hosts',
    expected='safe action, report, recovery; nothing is started again',
    only='realtime',
)
def test_network_cut(mode, happened, tmp_path, request):
    if reason := missing_rights():
        pytest.skip(reason)
    # In a process of its own: the middleware looks at the network interfaces once per process.
    command = [sys.executable, '-m', 'rl_edge_bringup', 'two_hosts', 'parts:=cut']
    command += [f'environment_id:={ENVIRONMENT}', f'output:={tmp_path}']
    domain_id = request.config.getoption('faults_domain', default=91)

    done = subprocess.run(
        [*command, f'ros_domain_id:={domain_id}'], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
    cut = json.loads((tmp_path / 'two_hosts_cut.json').read_text())['cut']
    happened(
        f'cut for {cut["cut_sec"]} s: {cut["safe_actions"]} safe actions, reported '
        f'{cut["report"]!r}; the policy acted again {cut["recovered_after_sec"]} s after'
    )
