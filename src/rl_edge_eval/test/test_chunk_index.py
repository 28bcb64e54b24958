import tracemalloc
from pathlib import Path

from mcap.records import ChunkIndex

from rl_edge_eval.recording.storage_writers import ChunkIndexes


def chunk_index(number: int) -> ChunkIndex:
    return ChunkIndex(
        chunk_length=100,
        chunk_start_offset=number,
        compression='',
        compressed_size=90,
        message_end_time=2,
        message_index_length=30,
        message_index_offsets={channel: 7 * channel for channel in range(number % 5)},
        message_start_time=1,
        uncompressed_size=90,
    )


def test_records_come_back_in_order(tmp_path: Path) -> None:
    index = ChunkIndexes(tmp_path)
    records = [chunk_index(number) for number in range(7)]
    for record in records:
        index.append(record)

    assert len(index) == 7
    assert list(index) == records
    assert list(tmp_path.iterdir()) == []
    index.close()


def test_an_hour_of_chunks_takes_no_memory(tmp_path: Path) -> None:
    index = ChunkIndexes(tmp_path)
    record = chunk_index(4)
    index.append(record)
    tracemalloc.start()
    for _ in range(7200):
        index.append(record)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(index) == 7201
    assert peak < 50_000  # the records themselves are 1,000,000 bytes
    index.close()
