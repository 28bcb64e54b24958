import pytest

from rl_edge_eval.recording.arrival_order import ArrivalOrder, Received

OFFSET = 1000
"""System time less steady time, while no clock is set."""


def begin(order: ArrivalOrder, steady_ns: int, *, offset_ns: int = OFFSET) -> None:
    order.begin(system_ns=steady_ns + offset_ns, steady_ns=steady_ns)


def arrive(order: ArrivalOrder, *messages: tuple[int, str]) -> None:
    for time_ns, topic in messages:
        order.add(Received(time_ns + OFFSET, topic, b''))


def released(messages: list[Received]) -> list[int]:
    return [message.time_ns - OFFSET for message in messages]


def test_what_arrived_during_a_round_waits_for_the_next() -> None:
    order = ArrivalOrder()
    # Round 1 began at 10. Topic a is emptied at 11, topic b at 12; a message of a at 11.5 is
    # therefore only seen in round 2, and must come before the one of b at 11.8.
    begin(order, 10)
    arrive(order, (9, 'a'), (8, 'b'), (118, 'b'))
    assert released(order.release()) == [8, 9]
    begin(order, 200)
    arrive(order, (115, 'a'))
    assert released(order.release()) == [115, 118]
    begin(order, 250)
    arrive(order, (300, 'a'))
    assert order.release() == []
    assert released(order.release_all()) == [300]
    assert order.release_all() == []


@pytest.mark.parametrize('jump_ns', [-(10**12), 10**12])
def test_a_clock_that_is_set_holds_no_message_back_and_changes_no_order(jump_ns: int) -> None:
    order = ArrivalOrder()
    begin(order, 100)
    arrive(order, (90, 'a'))
    assert released(order.release()) == [90]
    # The clock is set at 150: what came before it has the old time, what came after the new.
    begin(order, 200, offset_ns=OFFSET + jump_ns)
    arrive(order, (160 + jump_ns, 'a'), (110, 'b'), (140, 'b'), (170 + jump_ns, 'b'))
    assert released(order.release()) == [110, 140, 160 + jump_ns, 170 + jump_ns]
    begin(order, 300, offset_ns=OFFSET + jump_ns)
    arrive(order, (250 + jump_ns, 'a'), (350 + jump_ns, 'b'))
    assert released(order.release()) == [250 + jump_ns]
    assert released(order.release_all()) == [350 + jump_ns]
