import io
import tracemalloc

from rl_edge_eval.recording.chunk_index import ChunkIndex


def record_of(content: bytes) -> io.BytesIO:
    record = io.BytesIO()
    record.write(content)
    return record


def test_records_come_back_in_order_each_at_its_end(tmp_path):
    index = ChunkIndex(tmp_path)
    contents = [b'first', b'', b'a longer third one' * 100]
    for content in contents:
        index.append(record_of(content))

    assert len(index) == 3
    assert [(one.getvalue(), one.tell()) for one in index] == [(c, len(c)) for c in contents]
    assert list(tmp_path.iterdir()) == []
    index.close()


def test_an_hour_of_chunks_takes_no_memory(tmp_path):
    index = ChunkIndex(tmp_path)
    record = record_of(bytes(150))
    index.append(record)
    tracemalloc.start()
    for _ in range(7200):
        index.append(record)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(index) == 7201
    assert peak < 50_000  # the records themselves are 1,080,000 bytes
    index.close()
