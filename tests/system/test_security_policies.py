"""The policies for DDS Security, beside what the nodes of real runs use."""

import contextlib
import time
import xml.etree.ElementTree as ElementTree

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from rl_edge_bringup.models import workspace_folder
from rl_edge_bringup.security import policy_of

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group('security_policies')]

COMMANDS_OF_OTHERS = ('command_preview', 'joint_commands', 'joint_trajectory')
SENSORS_OF_OTHERS = ('commanded_velocity', 'emergency_stop')
RULES = {
    'publish': Node.get_publisher_names_and_types_by_node,
    'subscribe': Node.get_subscriber_names_and_types_by_node,
    'reply': Node.get_service_names_and_types_by_node,
    'request': Node.get_client_names_and_types_by_node,
}


@contextlib.contextmanager
def graph(domain_id):
    """Lend a node that looks at the graph."""
    context = Context()
    rclpy.init(context=context, domain_id=domain_id)
    node = Node('graph', context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        context.try_shutdown()


def granted(role, namespace):
    """Return what a role may do, as (rule, resolved name)."""
    profile = ElementTree.fromstring(policy_of(role, namespace)).find('.//profile')
    base, name = profile.get('ns'), profile.get('node')
    found = set()
    for entries in profile:
        for entry in entries:
            text = entry.text.replace('~', f'{base}/{name}')
            resolved = text if text.startswith('/') else f'{base}/{text}'
            found |= {(rule, resolved) for rule in entries.attrib if rule in RULES}
    return found


def used(node, name, namespace):
    """Return what a node of the graph does, as (rule, resolved name)."""
    return {
        (rule, topic)
        for rule, look in RULES.items()
        for topic, _ in look(node, name, f'/{namespace}'.rstrip('/') or '/')
    }


def wait_until_used(node, role, namespace, wanted, timeout_sec=600.0):
    """Wait until a node does all of ``wanted``; return what it does then."""
    deadline = time.monotonic() + timeout_sec
    found = set()
    while time.monotonic() < deadline:
        with contextlib.suppress(rclpy.node.NodeNameNonExistentError):
            found = used(node, role, namespace)
            if wanted <= found:
                return found
        time.sleep(0.2)
    pytest.fail(f'{role} does not use {sorted(wanted - found)}')


def without_wildcards(grants, namespace, nodes):
    """Replace resource_usage/* by the topics of the nodes that run."""
    wide = {grant for grant in grants if grant[1].endswith('/*')}
    topics = {f'/{namespace}/resource_usage/{name}' for name in nodes}
    return (grants - wide) | {(rule, topic) for rule, _ in wide for topic in topics}


def test_policies_grant_what_sim_policy_and_recorder_use_and_observers_can_watch(
    system, namespace, ros_domain_id
):
    system(
        'sim',
        environment_id='InvertedPendulum-v5',
        model='untrained',
        mode='realtime',
        episodes=0,
        record=True,
        recorder='rl_edge',
        publish_clock=True,
    )
    others = {
        ('publish', f'/{namespace}/image'),  # with render:=topic, which needs OpenGL
        ('subscribe', f'/{namespace}/control_timing'),  # of robots
    }

    with graph(ros_domain_id) as node:
        for role in ('sim', 'policy', 'recorder'):
            grants = granted(role, namespace) - others
            grants = without_wildcards(grants, namespace, ('sim', 'policy', 'recorder'))
            assert wait_until_used(node, role, namespace, grants) == grants
        watched = granted('observer', namespace)
        watched = without_wildcards(watched, namespace, ('sim', 'policy', 'recorder'))
        published = {
            topic for topic, _ in node.get_topic_names_and_types() if node.count_publishers(topic)
        }
        topics = {topic for rule, topic in watched if rule == 'subscribe'}
        assert topics <= published
        # Its services are those that every node of rclpy has, and no other.
        own = {(rule, topic.replace('/observer/', '/graph/')) for rule, topic in watched}
        assert {grant for grant in own if grant[0] == 'reply'} <= {
            (rule, topic if topic.startswith(f'/{namespace}') else f'/{namespace}{topic}')
            for rule, topic in used(node, 'graph', '')
        }


def test_the_trainer_uses_exactly_what_its_policy_grants(system, namespace, ros_domain_id):
    system(
        'train',
        environment_id='InvertedPendulum-v5',
        model='',
        preset='sac_small',
        mode='realtime',
        export_period_sec=1,
    )

    with graph(ros_domain_id) as node:
        grants = granted('train', namespace)
        assert wait_until_used(node, 'train', namespace, grants) == grants


def test_a_robot_uses_exactly_what_its_policy_grants(system, namespace, ros_domain_id):
    system('desktop', environment_id='Ant-v5', interface='standard')
    system('robot', description='ant_v5', model=workspace_folder() / 'models' / 'ant_v5' / 'best')
    # Of other descriptions, and of a dry run.
    others = {
        *(('publish', f'/{namespace}/{name}') for name in COMMANDS_OF_OTHERS),
        *(('subscribe', f'/{namespace}/{name}') for name in SENSORS_OF_OTHERS),
    }

    with graph(ros_domain_id) as node:
        grants = granted('robot', namespace)
        assert others <= grants
        wanted = grants - others
        assert wait_until_used(node, 'robot', namespace, wanted) == wanted
