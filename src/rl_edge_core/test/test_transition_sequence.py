import random

from rl_edge_core.transition_sequence import Arrival, TransitionSequence

RUN = 7


def arrivals(sequence, steps, *, episode=0, run=RUN):
    return [sequence.arrive(run, episode, step) for step in steps]


def test_an_unbroken_run_has_no_faults():
    sequence = TransitionSequence()
    assert set(arrivals(sequence, range(5)) + arrivals(sequence, range(3), episode=1)) == {
        Arrival.IN_ORDER
    }
    sequence.end_episode(RUN, 0, 5)
    sequence.end_episode(RUN, 1, 3)
    assert (sequence.received, sequence.lost, sequence.duplicates, sequence.reordered) == (
        8,
        0,
        0,
        0,
    )


def test_a_gap_is_lost_until_its_steps_arrive_late():
    sequence = TransitionSequence()
    arrivals(sequence, [0, 1, 5])
    assert sequence.lost == 3
    assert arrivals(sequence, [3, 2, 3]) == [
        Arrival.REORDERED,
        Arrival.REORDERED,
        Arrival.DUPLICATE,
    ]
    assert (sequence.lost, sequence.duplicates, sequence.reordered) == (1, 1, 2)


def test_the_first_steps_of_an_episode_can_be_lost():
    sequence = TransitionSequence()
    arrivals(sequence, [2])
    assert sequence.lost == 2


def test_the_length_of_an_episode_shows_what_its_end_lost():
    sequence = TransitionSequence()
    arrivals(sequence, range(10))
    sequence.end_episode(RUN, 0, 12)
    assert sequence.lost == 2
    sequence.end_episode(RUN, 1, 4)
    assert sequence.lost == 6
    # The length may overtake the last transitions, which are then still in order.
    assert arrivals(sequence, [10, 11]) == [Arrival.IN_ORDER, Arrival.IN_ORDER]
    assert sequence.lost == 4


def test_a_late_transition_of_an_earlier_episode_is_reordered():
    sequence = TransitionSequence()
    arrivals(sequence, range(3))
    arrivals(sequence, [0], episode=1)
    assert arrivals(sequence, [3]) == [Arrival.REORDERED]


def test_a_restarted_simulator_counts_anew():
    sequence = TransitionSequence()
    arrivals(sequence, range(3), run=2)
    assert set(arrivals(sequence, range(3), run=1)) == {Arrival.IN_ORDER}
    assert sequence.duplicates == 0


def test_any_shuffle_with_copies_is_accounted_for():
    generator = random.Random(0)
    for _ in range(50):
        length = generator.randrange(1, 40)
        kept = [step for step in range(length) if generator.random() < 0.8]
        sent = kept + generator.choices(kept, k=5) if kept else []
        generator.shuffle(sent)
        sequence = TransitionSequence()
        found = arrivals(sequence, sent)
        sequence.end_episode(RUN, 0, length)
        assert sequence.lost == length - len(kept)
        assert found.count(Arrival.DUPLICATE) == len(sent) - len(kept)
