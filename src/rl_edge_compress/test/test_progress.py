"""What a log and a terminal get of a long command."""

import io

from rl_edge_compress.progress import LINE_PERIOD_SEC, Progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end():
    log, times = io.StringIO(), iter([0.0, 1.0, 2.0, LINE_PERIOD_SEC, LINE_PERIOD_SEC, 40.0])
    with Progress(4, 'recipe', stream=log, now_sec=lambda: next(times)) as progress:
        progress.show(what='int8')
        progress.update()
        progress.show(what='pruned90', detail='round 2 of 5')
        progress.done += 1

    assert log.getvalue() == (
        'pruned90: 1 of 4 recipes after 30 s: round 2 of 5\n'
        'pruned90: 2 of 4 recipes after 40 s: round 2 of 5\n'
    )


def test_a_terminal_gets_a_bar():
    screen = Terminal()
    with Progress(2, 'episode', stream=screen) as progress:
        progress.update(2)

    assert '2/2' in screen.getvalue()
    assert '\r' in screen.getvalue()
