"""What the tests of loops and of the node share."""

from array import array

import pytest

from rl_edge_core.shared_parameters import LoopParameters
from rl_edge_interfaces.msg import Action
from rl_edge_sim.environment import make_environment
from rl_edge_sim.simulation import Simulation

RUN_ID = 17


class Clock:
    """A steady clock that stands still unless it is told to move on."""

    def __init__(self):
        self.now_ns = 5_000_000_000

    def __call__(self):
        return self.now_ns

    def advance(self, seconds):
        self.now_ns += round(seconds * 1e9)


class Recorder:
    """Keep what a loop hands out, in order."""

    def __init__(self):
        self.events = []
        self.observations, self.steps, self.episodes = [], [], []
        self.tick_restarts = 0
        self.exit_code = None

    def publish_observation(self, event):
        self.observations.append(event)
        self.events.append(('observation', event.episode, event.step))

    def publish_step(self, event):
        self.steps.append(event)
        self.events.append(('step', event.episode, event.step))

    def publish_episode(self, event):
        self.episodes.append(event)
        self.events.append(('episode', event.episode, event.result.ended_by.name))

    def restart_ticks(self):
        self.tick_restarts += 1

    def finish(self, exit_code):
        assert self.exit_code is None
        self.exit_code = exit_code


class Bench:
    """A loop on InvertedPendulum-v5 with a clock and a recorder, and words to talk to it."""

    def __init__(self, loop_type, *, seed=0, max_episode_steps=1000, settings=None, **loop_kwargs):
        self.clock, self.out = Clock(), Recorder()
        self.env = make_environment('InvertedPendulum-v5', max_episode_steps=max_episode_steps)
        self.simulation = Simulation(self.env, seed=seed)
        self.loop = loop_type(
            self.simulation,
            self.out,
            LoopParameters(**(settings or {})),
            run_id=RUN_ID,
            now_ns=self.clock,
            **loop_kwargs,
        )

    def wait(self, seconds, **kwargs):
        """Let time pass with the timer called as often as in a node."""
        while seconds > 1e-9:
            self.clock.advance(min(seconds, 0.05))
            seconds -= 0.05
            self.loop.on_timer(**kwargs)

    def begin(self):
        self.loop.on_timer()
        return self

    def answer(self, values=(0.0,), *, to=None, run_id=RUN_ID, **fields):
        episode, step = to or (self.simulation.episode, self.simulation.step)
        action = Action(run_id=run_id, episode=episode, step=step, values=array('f', values))
        action.model_hash = 'abc'
        for name, value in fields.items():
            setattr(action, name, value)
        self.loop.on_action(action)

    def run_episode(self):
        episode = self.simulation.episode
        while self.simulation.episode == episode and self.out.exit_code is None:
            self.answer()


@pytest.fixture
def bench():
    return Bench
