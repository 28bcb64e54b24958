"""Every way in which a bag can be bad: what can be had is read, what is left out is said."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
import yaml
import zstandard
from bag_writer import BagWriter, serialize
from loop_messages import SPEC, environment, small_bag, summary, transition, write_episodes
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode

from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.messages import BagError
from rl_edge_eval.metrics.run_metrics import RunMetrics
from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_eval.recording.bag_file import Limits
from rl_edge_eval.recording.message_definitions import message_definition

STORAGES = ['mcap', 'sqlite3']
MESSAGES = 1 + 2 * (4 + 1)
"""Of `small_bag`."""


def has_note(run: RunMetrics, *words: str) -> bool:
    return any(all(word in note for word in words) for note in run.notes)


def storage_file(bag: Path) -> Path:
    return next(path for path in bag.iterdir() if path.name != 'metadata.yaml')


@pytest.mark.parametrize('storage', STORAGES)
def test_whole_bag_has_no_notes(tmp_path: Path, storage: str) -> None:
    run = metrics_of_bag(small_bag(tmp_path / 'bag', storage=storage))
    assert run.notes == ()
    assert run.messages == MESSAGES
    assert run.storage == storage


def test_mcap_cut_off_at_every_kind_of_place(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    end_sec = 1.0
    for episode in range(4):
        for step in range(4):
            end_sec += 0.1
            writer.add(
                '/ant0/transition', 'Transition', transition(episode, step), time_sec=end_sec
            )
        writer.flush()
    writer.close()
    (tmp_path / 'bag' / 'metadata.yaml').unlink()
    file = storage_file(tmp_path / 'bag')
    whole = file.read_bytes()
    seen = set()
    for size in range(len(whole) - 1, 8, -97):
        os.truncate(file, size)
        run = metrics_of_bag(tmp_path / 'bag')
        steps = sum(len(robot.episodes) and robot.transitions for robot in run.robots)
        assert steps <= 16
        assert steps == 16 or has_note(run, 'cut off') or has_note(run, 'MCAP'), size
        seen.add(steps)
    # Even of an unfinished chunk the whole messages are read.
    assert seen == set(range(17))


def test_sqlite_cut_off(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag', 'sqlite3')
    write_episodes(writer, episodes=200)
    writer.close()
    file = storage_file(tmp_path / 'bag')
    os.truncate(file, file.stat().st_size // 2)
    run = metrics_of_bag(tmp_path / 'bag')
    assert 200 < run.messages < 1000
    assert has_note(run, 'cannot be read after message')
    assert has_note(run, '/ant0/transition', 'metadata.yaml says 800')


def test_sqlite_with_a_transaction_left_open(tmp_path: Path) -> None:
    bag = small_bag(tmp_path / 'bag', storage='sqlite3')
    file = storage_file(bag)
    database = sqlite3.connect(file)
    database.execute('PRAGMA journal_mode = WAL')
    database.execute(
        'INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, '
        'timestamp + 1000000000000, data FROM messages WHERE topic_id = 1'
    )
    database.commit()
    # A killed writer leaves the log beside the database; closing it would clean up.
    killed = tmp_path / 'killed'
    shutil.copytree(bag, killed)
    database.close()
    assert (killed / f'{file.name}-wal').stat().st_size > 0
    before = {path.name: path.read_bytes() for path in killed.iterdir()}
    run = metrics_of_bag(killed)
    assert run.messages == MESSAGES + 1
    assert has_note(run, 'was not closed', '-wal')
    assert {path.name: path.read_bytes() for path in killed.iterdir()} == before


def test_sqlite_with_an_empty_log_is_left_as_it_is(tmp_path: Path) -> None:
    """What a recorder leaves that was killed right after a flush."""
    bag = small_bag(tmp_path / 'bag', storage='sqlite3')
    Path(f'{storage_file(bag)}-wal').touch()
    before = {path.name: path.read_bytes() for path in bag.iterdir()}
    run = metrics_of_bag(bag)
    assert run.messages == MESSAGES
    assert {path.name: path.read_bytes() for path in bag.iterdir()} == before


@pytest.mark.parametrize('name', ['bag_0.mcap', 'bag_0.db3'])
def test_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    run = metrics_of_bag(tmp_path)
    assert run.messages == 0
    assert has_note(run, name, 'is empty')
    assert has_note(run, 'no topic of the control loop')


@pytest.mark.parametrize('name', ['bag_0.mcap', 'bag_0.db3'])
def test_file_of_something_else(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'\x00\x01 no bag at all ' * 1000)
    run = metrics_of_bag(tmp_path / name)
    assert run.messages == 0
    assert len(run.notes) >= 2


def test_damage_in_the_middle(tmp_path: Path) -> None:
    bag = small_bag(tmp_path / 'bag')
    file = storage_file(bag)
    content = bytearray(file.read_bytes())
    # In the first chunk, the record of the third transition loses its head.
    third = content.find(b'\x05', content.find(b'a' * 64, content.find(b'a' * 64) + 64) + 64)
    content[third : third + 9] = b'\xff' * 9
    file.write_bytes(content)
    assert has_note(metrics_of_bag(bag), 'a chunk with a wrong checksum', 'left out')
    # Many writers give no checksum: of that chunk what is before the damage is read.
    chunk = content.index(b'\x06', content.index(b'rl_edge'))
    content[chunk + 33 : chunk + 37] = bytes(4)
    file.write_bytes(content)
    run = metrics_of_bag(bag)
    assert 0 < run.messages < MESSAGES
    assert has_note(run, 'unfinished record', 'bytes are left out')
    assert has_note(run, 'metadata.yaml says')


def test_damage_where_the_topics_are_described_costs_that_chunk_alone(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for step in range(10):
        writer.add('/ant0/transition', 'Transition', transition(0, step), time_sec=1 + step)
        if step in (3, 6):
            writer.flush()
    writer.close()
    file = storage_file(tmp_path / 'bag')
    content = bytearray(file.read_bytes())
    content[content.index(b'float32[] observation')] ^= 1  # in the schema, in the first chunk
    file.write_bytes(content)
    run = metrics_of_bag(tmp_path / 'bag')
    assert has_note(run, 'a chunk with a wrong checksum')
    assert (run.robot.transitions, run.robot.steps_before_recording) == (6, 4)


def test_zeros_at_the_end(tmp_path: Path) -> None:
    """What a power cut leaves where the file had grown and its content was not on the disk."""
    bag = small_bag(tmp_path / 'bag')
    (bag / 'metadata.yaml').unlink()
    file = storage_file(bag)
    content = file.read_bytes()
    file.write_bytes(content[: content.index(b'\x07\0\0\0rosbag2') - 9] + bytes(5000))
    run = metrics_of_bag(bag)
    assert run.messages == MESSAGES
    assert has_note(run, 'cut off')


@pytest.mark.parametrize('storage', STORAGES)
def test_one_file_of_a_split_bag_says_what_it_lacks(tmp_path: Path, storage: str) -> None:
    writer = BagWriter(tmp_path / 'bag', storage, Limits(file_sec=0.3))
    for step in range(10):
        values = transition(0, step)
        writer.add('/ant0/transition', 'Transition', values, time_sec=1 + 0.1 * step)
        writer.flush()
    writer.close()
    second = next((tmp_path / 'bag').glob('bag_1.*'))
    for has_metadata in (True, False):
        if not has_metadata:
            (tmp_path / 'bag' / 'metadata.yaml').unlink()
        run = metrics_of_bag(second)
        assert run.messages == 4
        assert has_note(run, f'{second.name} is file 2 of 3', 'give the folder', 'environment')
    assert not has_note(metrics_of_bag(tmp_path / 'bag'), 'is file 2')


def test_a_channel_without_a_schema_has_the_type_that_metadata_names(tmp_path: Path) -> None:
    bag = small_bag(tmp_path / 'bag')
    file = storage_file(bag)
    messages = list(Bag(bag))
    with file.open('wb') as target:
        writer = McapWriter(target)
        writer.start('ros2')
        numbers: dict[str, int] = {}
        for message in messages:
            name = message.topic.name
            if name not in numbers:
                numbers[name] = writer.register_channel(name, 'cdr', 0)
            writer.add_message(numbers[name], message.time_ns, message.data, message.time_ns)
        writer.finish()
    run = metrics_of_bag(bag)
    assert (run.robot.transitions, len(run.robot.episodes)) == (8, 2)
    assert has_note(run, 'no schema of /ant0/transition', 'taken from metadata.yaml')
    (bag / 'metadata.yaml').unlink()
    run = metrics_of_bag(bag)
    assert run.messages == MESSAGES
    assert has_note(run, 'no schema of /ant0/transition', 'no metadata.yaml names its type')


@pytest.mark.parametrize('storage', STORAGES)
def test_bag_without_our_topics(tmp_path: Path, storage: str) -> None:
    writer = BagWriter(tmp_path / 'bag', storage)
    writer.add_raw('/chatter', 'std_msgs/msg/String', b'\0\1\0\0\2\0\0\0a\0', time_sec=1)
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    assert has_note(run, 'no topic of the control loop')
    assert [(topic.name, topic.messages) for topic in run.topics] == [('/chatter', 1)]
    assert run.robots == ()


def test_unknown_types_are_listed_and_harmless(tmp_path: Path) -> None:
    with Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for kind in ('their_msgs/msg/Thing', 'rl_edge_interfaces/msg/Unheard'):
            topic = writer.add_connection(
                f'/{kind[:5]}', kind, msgdef='int32 x\n', rihs01='RIHS01_' + '0' * 64
            )
            writer.write(topic, 1, b'\0\1\0\0\1\0\0\0')
    run = metrics_of_bag(tmp_path / 'bag')
    assert {topic.message_type for topic in run.topics} == {
        'their_msgs/msg/Thing',
        'rl_edge_interfaces/msg/Unheard',
    }
    assert has_note(run, 'no topic of the control loop')


def test_our_type_with_a_broken_definition(tmp_path: Path) -> None:
    with Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection(
            '/ant0/transition',
            'rl_edge_interfaces/msg/Transition',
            msgdef='this is no definition',
            rihs01='RIHS01_' + '0' * 64,
        )
        writer.write(topic, 1, b'\0\1\0\0\1\0\0\0')
    run = metrics_of_bag(tmp_path / 'bag')
    assert has_note(run, '/ant0/transition', 'the definition of', 'left out')


def test_malformed_messages_are_counted(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    kind = 'rl_edge_interfaces/msg/Transition'
    for data in (b'', b'\0\1\0\0', b'\0\1\0\0' + b'\xff' * 50):
        writer.add_raw('/ant0/transition', kind, data, time_sec=1)
    writer.add_raw('/ant0/episode', 'rl_edge_interfaces/msg/EpisodeSummary', b'\0\1', time_sec=1)
    writer.add('/ant0/transition', 'Transition', transition(0, 0), time_sec=2)
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    assert run.robots[0].transitions == 1
    assert has_note(run, '/ant0/transition', 'cannot be decoded', '(3 times)')
    assert has_note(run, '/ant0/episode', 'cannot be decoded')


def test_messages_out_of_order_and_doubled(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for time_sec, step in enumerate((0, 2, 1, 1, 3), start=1):
        writer.add('/ant0/transition', 'Transition', transition(0, step), time_sec=time_sec)
    writer.add('/ant0/episode', 'EpisodeSummary', summary(0, 6), time_sec=0.5)
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=9)
    writer.close()
    (robot,) = metrics_of_bag(tmp_path / 'bag').robots
    assert (robot.transitions, robot.duplicate_transitions) == (4, 1)
    assert (robot.reordered_transitions, robot.lost_transitions) == (1, 2)
    assert robot.environment_id == 'Test-v0'
    (episode,) = robot.episodes
    assert (episode.length, episode.recorded_steps, episode.ended_by) == (6, 4, 'time limit')


def test_a_file_written_out_of_order_by_threads_has_no_reordered_transitions(
    tmp_path: Path,
) -> None:
    """What ``ros2 bag record --compression-mode message`` writes."""
    writer = BagWriter(tmp_path / 'bag')
    for step in (0, 2, 1, 4, 3, 5):
        writer.add('/ant0/transition', 'Transition', transition(0, step), time_sec=1 + 0.1 * step)
    writer.close()
    (robot,) = metrics_of_bag(tmp_path / 'bag').robots
    assert (robot.transitions, robot.reordered_transitions, robot.lost_transitions) == (6, 0, 0)


def test_several_robots_are_kept_apart(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    for robot, episodes in (('/ant0', 1), ('/lab/ant1', 3), ('', 2)):
        write_episodes(writer, episodes=episodes, robot=robot)
        usage = {'node': f'{robot}/sim', 'pid': 7}
        writer.add(f'{robot}/resource_usage/sim', 'ResourceUsage', usage, time_sec=1)
    writer.close()
    robots = metrics_of_bag(tmp_path / 'bag').robots
    assert [(robot.namespace, len(robot.episodes)) for robot in robots] == [
        ('', 2),
        ('/ant0', 1),
        ('/lab/ant1', 3),
    ]
    assert [node.node for node in robots[2].nodes] == ['/lab/ant1/sim']


def test_wrong_sized_observation(tmp_path: Path) -> None:
    import numpy as np

    writer = BagWriter(tmp_path / 'bag')
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=1)
    for step in range(4):
        values = transition(0, step)
        if step == 2:
            values['observation'] = np.zeros(5, np.float32)
        writer.add('/ant0/transition', 'Transition', values, time_sec=2 + step)
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    assert run.robots[0].transitions == 4
    assert has_note(run, 'wrong size', 'episode 0 step 2 has 5 observation', 'instead of 3')


def test_missing_metadata(tmp_path: Path) -> None:
    bag = small_bag(tmp_path / 'bag')
    (bag / 'metadata.yaml').unlink()
    run = metrics_of_bag(bag)
    assert run.messages == MESSAGES
    assert has_note(run, 'metadata.yaml is missing')


@pytest.mark.parametrize('text', ['', '[1, 2', 'rosbag2_bagfile_information: 3', '\x00'])
def test_metadata_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    bag = small_bag(tmp_path / 'bag')
    (bag / 'metadata.yaml').write_text(text)
    run = metrics_of_bag(bag)
    assert run.messages == MESSAGES
    assert has_note(run, 'metadata.yaml cannot be read')


def test_metadata_that_lies(tmp_path: Path) -> None:
    bag = small_bag(tmp_path / 'bag')
    metadata = yaml.safe_load((bag / 'metadata.yaml').read_text())
    information = metadata['rosbag2_bagfile_information']
    information['relative_file_paths'] = ['bag_7.mcap']
    information['compression_mode'], information['compression_format'] = 'message', 'zstd'
    information['storage_identifier'] = 'sqlite3'
    information['topics_with_message_count'][1]['message_count'] = 999
    information['topics_with_message_count'][2]['topic_metadata']['name'] = '/nowhere'
    (bag / 'metadata.yaml').write_text(yaml.safe_dump(metadata))
    run = metrics_of_bag(bag)
    assert run.messages == MESSAGES
    assert len(run.robots[0].episodes) == 2
    assert has_note(run, 'bag_7.mcap is missing')
    assert has_note(run, 'bag_0.mcap', 'does not list it')
    assert has_note(run, '/ant0/transition: 8 messages read, metadata.yaml says 999')
    assert has_note(run, '/nowhere: 0 messages read, metadata.yaml says 2')


def test_split_bag_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    bag = tmp_path / 'bag'
    bag.mkdir()
    for part in (9, 10, 11):
        writer = BagWriter(tmp_path / f'part{part}')
        writer.add('/ant0/transition', 'Transition', transition(0, part), time_sec=part)
        writer.close()
        shutil.copy(storage_file(tmp_path / f'part{part}'), bag / f'bag_{part}.mcap')
    assert [message.time_ns // 10**9 for message in Bag(bag)] == [9, 10, 11]


@pytest.mark.parametrize(
    ('storage', 'mode'),
    [
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
    ],
)
@pytest.mark.parametrize('has_metadata', [True, False])
def test_compressed_bags(
    tmp_path: Path, storage: StoragePlugin, mode: CompressionMode, has_metadata: bool
) -> None:
    writer = Writer(tmp_path / 'bag', version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    kind = 'rl_edge_interfaces/msg/Transition'
    definition = message_definition(kind)
    with writer:
        topic = writer.add_connection(
            '/ant0/transition', kind, msgdef=definition.text, rihs01=definition.type_hash
        )
        for step in range(50):
            writer.write(topic, step, serialize('Transition', transition(0, step)))
    if not has_metadata:
        (tmp_path / 'bag' / 'metadata.yaml').unlink()
    run = metrics_of_bag(tmp_path / 'bag')
    assert run.robots[0].transitions == 50
    assert (not run.notes or not has_metadata) or run.notes == (
        '/ant0: episodes still open at the end of the bag: not in the means; the first: episode 0',
    )


def test_compressed_chunk_that_was_cut_off(tmp_path: Path) -> None:
    writer = Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    kind = 'rl_edge_interfaces/msg/Transition'
    definition = message_definition(kind)
    with writer:
        topic = writer.add_connection(
            '/ant0/transition', kind, msgdef=definition.text, rihs01=definition.type_hash
        )
        for step in range(3000):
            values = transition(0, step, response_time_us=float(hash((step, 'r')) % 997))
            writer.write(topic, step, serialize('Transition', values))
    file = storage_file(tmp_path / 'bag')
    os.truncate(file, file.stat().st_size // 3)
    run = metrics_of_bag(tmp_path / 'bag')
    assert 0 < run.robots[0].transitions < 3000
    assert has_note(run, 'cut off')


def test_compressed_file_that_was_cut_off(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag')
    write_episodes(writer, episodes=3000)
    writer.close()
    file = storage_file(tmp_path / 'bag')
    packed = zstandard.compress(file.read_bytes())
    file.unlink()
    file.with_suffix('.mcap.zstd').write_bytes(packed[: len(packed) // 2])
    run = metrics_of_bag(tmp_path / 'bag')
    assert 0 < run.robots[0].transitions < 12000
    assert has_note(run, 'cut off')


@pytest.mark.parametrize('storage', STORAGES)
@pytest.mark.parametrize(
    ('cut', 'has_metadata'),
    [('unpacked', True), ('packed', False)],
    ids=['ros2 bag play was stopped', 'a recorder was killed'],
)
def test_a_compressed_file_beside_what_it_holds_is_read_once(
    tmp_path: Path, storage: str, cut: str, has_metadata: bool
) -> None:
    bag = small_bag(tmp_path / 'bag', storage=storage)
    unpacked = storage_file(bag)
    packed = unpacked.with_name(f'{unpacked.name}.zstd')
    packed.write_bytes(zstandard.compress(unpacked.read_bytes()))
    metadata = bag / 'metadata.yaml'
    metadata.write_text(metadata.read_text().replace(f'- {unpacked.name}', f'- {packed.name}'))
    if not has_metadata:
        metadata.unlink()
    half = unpacked if cut == 'unpacked' else packed
    os.truncate(half, half.stat().st_size // 2)
    run = metrics_of_bag(bag)
    assert run.messages == MESSAGES
    assert run.robots[0].duplicate_transitions == 0
    assert has_note(run, f'{half.name} is left out')
    assert len(run.notes) == (1 if has_metadata else 2)


def test_environment_that_changes(tmp_path: Path) -> None:
    import dataclasses

    writer = BagWriter(tmp_path / 'bag')
    other = dataclasses.replace(SPEC, control_period_sec=0.01)
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=1)
    writer.add('/ant0/environment', 'Environment', environment(other), time_sec=2)
    writer.add('/ant0/environment', 'Environment', environment(spec_hash='0' * 64), time_sec=3)
    writer.close()
    run = metrics_of_bag(tmp_path / 'bag')
    assert has_note(run, 'environment changed', 'control_period_sec: 0.05 against 0.01')
    assert has_note(run, 'its message says 000000000000')


def test_no_bag_at_a_path(tmp_path: Path) -> None:
    with pytest.raises(BagError, match='does not exist'):
        metrics_of_bag(tmp_path / 'nothing')
    with pytest.raises(BagError, match=r'no \.mcap or \.db3 file in it'):
        metrics_of_bag(tmp_path)
    (tmp_path / 'note.txt').touch()
    with pytest.raises(BagError, match=r'is no \.mcap or \.db3 file'):
        metrics_of_bag(tmp_path / 'note.txt')
