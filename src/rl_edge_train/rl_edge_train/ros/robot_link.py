"""One robot of the train node: what it sends, what it was sent, and what is wrong with it."""

import time
from array import array

from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import SetBool

from rl_edge_core.artifact import FULL_RECIPE
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.files import sha256_of
from rl_edge_core.ros import conversions, qos
from rl_edge_interfaces.msg import EpisodeSummary, PolicyStatus, Transition
from rl_edge_interfaces.srv import LoadModel
from rl_edge_train.online.learner import ExportedPolicy
from rl_edge_train.online.learner_thread import LearnerThread
from rl_edge_train.online.robot_feed import RobotFeed

ANSWER_TIMEOUT_SEC = 60.0
"""After so long without an answer a request to load a policy counts as lost, and is sent again."""
UNREAD_STEPS = 5000
"""Transitions that wait while this process learns: on a busy machine it reads none for seconds."""
HAS_LOADED = (PolicyStatus.INACTIVE, PolicyStatus.ACTIVE, PolicyStatus.REFUSING)


class RobotLink:
    """Receive a robot's transitions and episodes, send its policy node models, pause its sim.

    The policy node may exit at any time, while it loads a model too, and start anew: it is
    known by its publisher of policy_status, and a new one is sent the newest policy.
    """

    def __init__(self, node: Node, name: str, *, policy_node: str, sim_node: str) -> None:
        """Create the clients; nothing is received before `receive`."""
        self.name = name
        self.feed: RobotFeed | None = None
        """None until the robot has announced the environment that is learned."""
        self.fault = ''
        """What is wrong with this robot; empty while all is well."""
        self.is_received = False
        self.run_id: int | None = None
        """Of the environment message that came last."""
        self.told_to_pause = False
        """What its sim was asked last."""
        self._node = node
        self._load = node.create_client(LoadModel, f'{name}/{policy_node}/load_model')
        self._pause = node.create_client(SetBool, f'{name}/{sim_node}/pause')
        self._pausing: Future | None = None
        self._request: Future | None = None
        self._requested_at = 0.0
        self._answered_hash = ''
        """Of the model that this policy node took or refused last."""
        self._policy_gids: set[tuple[int, ...]] = set()
        self._policy_has_loaded = False
        self._status = qos.subscription(
            node, PolicyStatus, f'{name}/policy_status', self._on_status, qos.policy_status()
        )

    # What it sends ---------------------------------------------------------------------------

    def accept(self, spec: EnvironmentSpec) -> None:
        """Take transitions of this environment from now on."""
        if self.feed is None:
            self.fault = ''
            self.feed = RobotFeed(spec)

    def refuse(self, fault: str) -> None:
        """Take nothing from this robot, for the reason given."""
        self.feed = None
        self.fault = fault

    def receive(self, learning: LearnerThread, *, from_now_on: bool) -> None:
        """Subscribe to transitions and episodes; `from_now_on` asks for none sent before."""
        self.is_received = True
        self._learning = learning
        steps = qos.transition()
        steps.depth = UNREAD_STEPS
        for message_type, topic, callback, profile in (
            (Transition, 'transition', self._on_transition, steps),
            (EpisodeSummary, 'episode', self._on_episode, qos.episode()),
        ):
            chosen = qos.from_now_on(profile) if from_now_on else profile
            qos.subscription(self._node, message_type, f'{self.name}/{topic}', callback, chosen)

    def _on_transition(self, message: Transition) -> None:
        fields = self.feed.take(message) if self.feed is not None else None
        if fields is not None:
            self._learning.put(fields)

    def _on_episode(self, message: EpisodeSummary) -> None:
        if self.feed is not None:
            result = conversions.from_episode_summary(message)
            self.feed.end_episode(message.run_id, message.episode, result)

    # Its policy ------------------------------------------------------------------------------

    @property
    def awaits_policy(self) -> bool:
        """Return whether a policy node is there that has answered to no model yet."""
        return self._load.service_is_ready() and not self._answered_hash

    def offer(self, policy: ExportedPolicy) -> None:
        """Send a policy, unless the policy node took or refused it, or is loading one."""
        self._look_for_a_new_policy_node()
        is_gone = not self._load.service_is_ready()
        is_late = time.monotonic() - self._requested_at > ANSWER_TIMEOUT_SEC
        if self._request is not None and (is_gone or is_late):
            self._drop_request()
            self._node.get_logger().warning(
                f'the policy of {self.name} has not answered to a model: '
                + ('it exited while loading' if is_gone else 'sending it again')
            )
        if self._request is not None or policy.model_hash == self._answered_hash:
            return
        if self.feed is None or not self._policy_has_loaded or is_gone:
            return
        request = LoadModel.Request(
            archive=array('B', policy.archive),
            sha256=sha256_of(policy.archive),
            recipe=FULL_RECIPE,
        )
        self._request, self._requested_at = self._load.call_async(request), time.monotonic()
        self._request.add_done_callback(lambda done: self._on_loaded(policy.model_hash, done))

    def _on_loaded(self, wanted: str, future: Future) -> None:
        if future is not self._request:  # given up in the meantime
            return
        self._request = None
        self._answered_hash = wanted
        response = future.result()
        if response is not None and response.success:
            self.fault = ''
            return
        reason = response.message if response else future.exception()
        self.fault = f'{self.name} refused the policy: {reason}'
        self._node.get_logger().warning(self.fault)

    def _on_status(self, message: PolicyStatus) -> None:
        self._policy_has_loaded = message.state in HAS_LOADED

    def _look_for_a_new_policy_node(self) -> None:
        """Forget what an earlier process was sent once another one publishes its status.

        A killed process stays in the graph until its lease ends, so its request is not answered
        and its service still looks ready.
        """
        publishers = self._node.get_publishers_info_by_topic(self._status.topic_name)
        gids = {tuple(publisher.endpoint_gid) for publisher in publishers}
        if self._policy_gids and gids - self._policy_gids:
            self._node.get_logger().info(f'the policy of {self.name} has started anew')
            self._drop_request()
            self._answered_hash, self._policy_has_loaded = '', False
        self._policy_gids |= gids

    def _drop_request(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            self._load.remove_pending_request(request)

    # Its simulation --------------------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        """Ask the sim to pause or to go on, where it was asked something else last."""
        if paused != self.told_to_pause and self.is_received and self._pause.service_is_ready():
            self.told_to_pause = paused
            self._pausing = self._pause.call_async(SetBool.Request(data=paused))

    @property
    def is_known_to_run(self) -> bool:
        """Return whether the sim has answered that it goes on, or was never paused."""
        return not self.told_to_pause and (self._pausing is None or self._pausing.done())
