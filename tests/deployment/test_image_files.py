"""What describes images, containers and the service, checked by the tools made for that."""

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

COMPOSE_FILES = ('compose.yaml', 'compose.two-hosts.yaml')
SCRIPTS = ('install_build_tools', 'create_user', 'check_edge', 'entrypoint')


def run(*command):
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )


def tool(name):
    found = Path(sys.executable).with_name(name)
    path = str(found) if found.exists() else shutil.which(name)
    if path is None:
        pytest.skip(f'{name} is not installed here')
    return path


def test_hadolint_has_nothing_to_say(checkout):
    # DL3066: root makes one folder in a stage that stays behind.
    done = run(tool('hadolint'), '--ignore', 'DL3066', checkout / 'docker' / 'Dockerfile')

    assert done.returncode == 0, done.stdout


def test_compose_files_are_valid(checkout):
    files = sorted((checkout / 'docker').glob('compose*.yaml'))

    done = run(tool('check-jsonschema'), '--builtin-schema', 'vendor.compose-spec', *files)

    assert done.returncode == 0, done.stdout


def test_cluster_files_are_valid(checkout):
    ray = importlib.util.find_spec('ray')  # not imported: it reads the environment then
    if ray is None:
        pytest.skip('the extra ray is not installed: tools/env --with ray')
    files = checkout / 'docker' / 'cluster'
    launcher_schema = Path(ray.origin).parent / 'autoscaler' / 'ray-schema.json'

    for schema, file in (
        (checkout / 'tests' / 'deployment' / 'schemas' / 'ray_job.json', files / 'ray_job.yaml'),
        (launcher_schema, files / 'ray_cluster.yaml'),
    ):
        done = run(tool('check-jsonschema'), '--schemafile', schema, file)
        assert done.returncode == 0, done.stdout

    job = yaml.safe_load((files / 'ray_job.yaml').read_text())['spec']['rayClusterSpec']
    assert job['rayVersion'] == importlib.metadata.version('ray')
    assert job['authOptions'] == {'mode': 'token'}


def test_the_cluster_file_adds_head_and_worker_of_the_desktop_image(checkout):
    base, cluster = (
        yaml.safe_load((checkout / 'docker' / name).read_text())['services']
        for name in ('compose.yaml', 'compose.cluster.yaml')
    )

    assert set(cluster) - set(base) == {'ray-head', 'ray-worker'}
    for name in ('ray-head', 'ray-worker'):
        assert cluster[name]['image'] == base['desktop']['image']
        assert cluster[name]['environment']['RAY_AUTH_MODE'] == 'token'


def test_the_slurm_script_is_bash_and_asks_slurm_for_what_it_knows(checkout):
    script = checkout / 'docker' / 'cluster' / 'slurm.sh'
    # Of sbatch(1), Slurm 24.05.
    known = {'job-name', 'nodes', 'ntasks-per-node', 'cpus-per-task', 'time', 'signal'}

    assert run('bash', '-n', script).returncode == 0
    asked = re.findall(r'^#SBATCH --([a-z-]+)=', script.read_text(), flags=re.MULTILINE)
    assert set(asked) == known


def test_the_two_hosts_file_changes_only_services_that_there_are(checkout):
    one, two = (yaml.safe_load((checkout / 'docker' / name).read_text()) for name in COMPOSE_FILES)

    assert set(two['services']) == set(one['services'])
    assert {service['profiles'][0] for service in two['services'].values()} == {'edge', 'desktop'}


def test_containers_share_network_and_shared_memory_with_the_host(checkout):
    services = yaml.safe_load((checkout / 'docker' / 'compose.yaml').read_text())['services']

    for service in services.values():
        assert (service['network_mode'], service['ipc']) == ('host', 'host')


def test_images_copy_and_run_only_what_there_is(checkout):
    lines = (checkout / 'docker' / 'Dockerfile').read_text().splitlines()
    copied = [line.split() for line in lines if line.startswith('COPY ') and '--from' not in line]
    sources = [word for words in copied for word in words[1:-1] if not word.startswith('--')]

    missing = [name for name in sources if name != 'models' and not (checkout / name).exists()]

    assert sources
    assert not missing


def test_final_stages_do_not_run_as_root_and_the_edge_has_a_health_check(checkout):
    text = (checkout / 'docker' / 'Dockerfile').read_text()
    stages = re.split(r'^FROM ', text, flags=re.MULTILINE)[1:]
    by_name = {stage.splitlines()[0].split()[-1]: stage for stage in stages}

    assert list(by_name) == ['base', 'edge-build', 'desktop', 'edge']
    for name in ('base', 'edge-build', 'edge'):
        users = re.findall(r'^USER (\S+)', by_name[name], flags=re.MULTILINE)
        assert users[-1] == '10042:10042'
    assert 'USER root' not in by_name['desktop']
    assert 'rl_edge", "health' in by_name['edge']


def test_the_edge_stage_builds_nothing(checkout):
    edge = (checkout / 'docker' / 'Dockerfile').read_text().rpartition('\nFROM ')[2]

    assert 'install_build_tools' not in edge
    assert 'check_edge' in edge


@pytest.mark.parametrize('name', SCRIPTS)
def test_scripts_are_valid_bash(checkout, name):
    assert run('bash', '-n', checkout / 'docker' / name).returncode == 0


def test_the_build_tools_list_themselves_without_rights(checkout):
    done = run(checkout / 'docker' / 'install_build_tools', '--list')

    assert done.returncode == 0
    assert {'build-essential', 'cmake', 'python3-venv'} <= set(done.stdout.split())


def test_systemd_accepts_the_unit(checkout, tmp_path):
    # The program stands somewhere else here than on a device.
    text = (checkout / 'docker' / 'rl_edge_policy.service').read_text()
    unit = tmp_path / 'rl_edge_policy.service'
    unit.write_text(text.replace('/opt/rl_edge/bin/rl_edge', '/bin/true'))

    done = run(tool('systemd-analyze'), 'verify', unit)

    assert done.returncode == 0, done.stderr
    assert not done.stderr.strip(), done.stderr
    for line in ('Restart=always', 'WantedBy=multi-user.target', 'User=rl_edge'):
        assert line in text
