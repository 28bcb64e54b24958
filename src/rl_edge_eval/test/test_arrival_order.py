from rl_edge_eval.recording.batch import ArrivalOrder, Received


def test_what_arrived_during_a_round_waits_for_the_next() -> None:
    order: ArrivalOrder[str] = ArrivalOrder()
    # Round 1 began at 10. Topic a is emptied at 11, topic b at 12; a message of a at 11.5 is
    # therefore only seen in round 2, and must come before the one of b at 11.8.
    for message in (Received(9, 'a', b''), Received(8, 'b', b''), Received(118, 'b', b'late')):
        order.add(message)
    assert [m.time_ns for m in order.release(10)] == [8, 9]
    order.add(Received(115, 'a', b''))
    assert [m.time_ns for m in order.release(200)] == [115, 118]
    order.add(Received(300, 'a', b''))
    assert order.release(250) == []
    assert [m.time_ns for m in order.release_all()] == [300]
    assert order.release_all() == []
