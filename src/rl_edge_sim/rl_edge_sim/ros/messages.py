"""What a loop takes and gives as messages. Those of each step are filled again, not made anew."""

from array import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image

from rl_edge_core.ros.conversions import (
    from_float32_field,
    to_episode_summary,
    to_float32_field,
)
from rl_edge_interfaces.msg import Action, EpisodeSummary, Observation, Transition
from rl_edge_sim.action_gate import Answer
from rl_edge_sim.control_loop import Finished, Observed, Stepped

_NANOSECONDS = 1_000_000_000


def set_stamp(stamp: Time, time_ns: int) -> None:
    """Set ``stamp`` to a simulated time in ns."""
    stamp.sec, stamp.nanosec = divmod(time_ns, _NANOSECONDS)


def to_answer(message: Action) -> Answer:
    """Return an action; its values are a view of the message's."""
    return Answer(
        message.run_id,
        message.episode,
        message.step,
        from_float32_field(message.values),
        message.model_hash,
        message.inference_time_us,
        message.safe_action,
    )


def fill_observation(message: Observation, observed: Observed) -> None:
    """Put an observation into ``message``; the run_id is the caller's."""
    set_stamp(message.header.stamp, observed.time_ns)
    message.episode = observed.episode
    message.step = observed.step
    message.values = observed.values


def fill_transition(message: Transition, stepped: Stepped) -> None:
    """Put a step into ``message``; the run_id is the caller's."""
    taken = stepped.taken
    set_stamp(message.header.stamp, stepped.time_ns)
    message.episode = stepped.episode
    message.step = stepped.step
    message.observation = stepped.observation
    message.action = to_float32_field(taken.action)
    message.reward = stepped.reward
    message.reward_terms = array('d', stepped.reward_terms)
    message.next_observation = stepped.next_observation
    message.terminated = stepped.terminated
    message.truncated = stepped.truncated
    message.safe_action = taken.is_safe_action
    message.model_hash = taken.model_hash
    message.forward_position = stepped.forward_position
    message.response_time_us = taken.response_time_us
    message.inference_time_us = taken.inference_time_us


def to_summary(
    finished: Finished, *, run_id: int, reward_term_names: Sequence[str]
) -> EpisodeSummary:
    """Return a finished episode with its counts."""
    message = to_episode_summary(
        finished.result,
        run_id=run_id,
        episode=finished.episode,
        reward_term_names=reward_term_names,
    )
    counts = finished.counts
    set_stamp(message.header.stamp, finished.time_ns)
    message.model_hash = finished.model_hash
    message.missed_actions = counts.missed
    message.late_actions = counts.late
    message.duplicate_actions = counts.duplicate
    message.foreign_actions = counts.foreign
    message.rejected_actions = counts.rejected
    message.safe_actions = counts.safe
    return message


def to_image(picture: np.ndarray, time_ns: int) -> Image:
    """Return ``picture``, uint8 of shape (height, width, 3) in RGB, drawn at a simulated time."""
    height, width, channels = picture.shape
    data = array('B')
    data.frombytes(np.ascontiguousarray(picture, np.uint8).data)
    message = Image(height=height, width=width, encoding='rgb8', step=width * channels, data=data)
    set_stamp(message.header.stamp, time_ns)
    message.header.frame_id = 'camera'
    return message
