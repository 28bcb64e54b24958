"""The services of simulation_interfaces, called over ROS where that package is installed."""

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from rl_edge_sim.sim_node import SimNode

srv = pytest.importorskip('simulation_interfaces.srv')
msg = pytest.importorskip('simulation_interfaces.msg')
FEATURES, RESULT, STATE = msg.SimulatorFeatures, msg.Result, msg.SimulationState


@pytest.fixture
def simulator(ros_domain_id):
    with_simulator = Simulator(ros_domain_id)
    yield with_simulator
    with_simulator.close()


class Simulator:
    """A sim node and one that calls its services."""

    def __init__(self, domain_id):
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.node = None

    def start(self, **parameters):
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = SimNode(context=self.context, parameter_overrides=overrides)
        self.caller = Node('caller', context=self.context)
        for node in (self.node, self.caller):
            self.executor.add_node(node)

    def call(self, kind, name, **request):
        client = self.caller.create_client(kind, f'sim/{name}')
        self.until(client.service_is_ready)
        future = client.call_async(kind.Request(**request))
        self.until(future.done)
        return future.result()

    def state(self):
        return self.call(srv.GetSimulationState, 'get_simulation_state').state.state

    def go_to(self, state):
        wanted = STATE(state=state)
        return self.call(srv.SetSimulationState, 'set_simulation_state', state=wanted).result

    def until(self, condition):
        while not condition():
            self.executor.spin_once(timeout_sec=0.1)

    def close(self):
        if self.node is not None:
            self.node.close()
            for node in (self.node, self.caller):
                node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)


def test_a_robot_behind_standard_topics_is_paused_stepped_and_reset(simulator):
    simulator.start(interface='standard', real_time_factor=5.0)
    simulation = simulator.node._standard._simulation
    features = simulator.call(srv.GetSimulatorFeatures, 'get_simulator_features').features
    assert FEATURES.STEP_SIMULATION_MULTIPLE in features.features
    assert simulator.state() == STATE.STATE_PLAYING
    refused = simulator.call(srv.StepSimulation, 'step_simulation', steps=1).result
    assert (refused.result, refused.error_message) == (
        RESULT.RESULT_OPERATION_FAILED,
        'the simulation is not paused',
    )
    assert simulator.go_to(STATE.STATE_PAUSED).result == RESULT.RESULT_OK
    assert simulator.state() == STATE.STATE_PAUSED
    again = simulator.go_to(STATE.STATE_PAUSED).result
    assert again == srv.SetSimulationState.Response.ALREADY_IN_TARGET_STATE
    before = simulation.steps
    assert simulator.call(srv.StepSimulation, 'step_simulation', steps=7).result.result == 1
    assert simulation.steps == before + 7
    assert simulator.call(srv.ResetSimulation, 'reset_simulation').result.result == 1
    assert simulator.go_to(STATE.STATE_PLAYING).result == RESULT.RESULT_OK
    simulator.until(lambda: simulation.episode == 1 and simulation.step > 2)


def test_stopped_is_paused_at_the_start(simulator):
    simulator.start(interface='standard', real_time_factor=5.0)
    simulation = simulator.node._standard._simulation
    simulator.until(lambda: simulation.step > 2)
    assert simulator.go_to(STATE.STATE_STOPPED).result == RESULT.RESULT_OK
    assert simulator.state() == STATE.STATE_PAUSED
    assert simulator.go_to(STATE.STATE_PLAYING).result == RESULT.RESULT_OK
    simulator.until(lambda: simulation.episode == 1)


def test_a_loop_that_waits_for_a_policy_is_paused_and_reset_and_not_stepped(simulator):
    simulator.start(environment_id='InvertedPendulum-v5')
    features = simulator.call(srv.GetSimulatorFeatures, 'get_simulator_features').features
    assert FEATURES.STEP_SIMULATION_SINGLE not in features.features
    assert FEATURES.SIMULATION_STATE_PAUSE in features.features
    simulator.go_to(STATE.STATE_PAUSED)
    assert simulator.node._loop.is_paused
    refused = simulator.call(srv.StepSimulation, 'step_simulation', steps=1).result
    assert refused.result == RESULT.RESULT_FEATURE_UNSUPPORTED
    time_alone = srv.ResetSimulation.Request.SCOPE_TIME
    refused = simulator.call(srv.ResetSimulation, 'reset_simulation', scope=time_alone).result
    assert refused.result == RESULT.RESULT_FEATURE_UNSUPPORTED
    assert simulator.call(srv.ResetSimulation, 'reset_simulation').result.result == 1


def test_quitting_ends_the_node(simulator):
    simulator.start(interface='standard')
    assert simulator.go_to(STATE.STATE_QUITTING).result == RESULT.RESULT_OK
    assert simulator.node.finished.result() == 0
