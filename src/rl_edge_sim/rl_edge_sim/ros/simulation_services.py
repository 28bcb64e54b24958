"""The services of simulation_interfaces, where it is installed; Gazebo has them too."""

from collections.abc import Callable
from typing import Any, Protocol

from rclpy.node import Node

from rl_edge_core.errors import ConfigurationError


class ControlledSimulation(Protocol):
    """What the services do to a simulation."""

    is_paused: bool
    """Whether it takes no steps."""

    def pause(self, paused: bool) -> None:
        """Stop between two steps, or go on."""

    def reset(self) -> Any:
        """Begin the next episode; raise ConfigurationError when that can't be."""


def offer_simulation_services(
    node: Node,
    simulation: ControlledSimulation,
    *,
    step: Callable[[], None] | None,
    finish: Callable[[int], None],
) -> bool:
    """Offer the services below the node's name; return False where the package is not installed.

    ``step`` takes one step of a paused simulation; None where steps need a policy's answer.
    ``finish`` ends the node with an exit code.
    """
    try:
        from simulation_interfaces import srv
        from simulation_interfaces.msg import Result, SimulationState, SimulatorFeatures
    except ImportError:
        node.get_logger().debug('simulation_interfaces is not installed: none of its services')
        return False
    ok, failed = Result.RESULT_OK, Result.RESULT_OPERATION_FAILED

    def features(_: Any, response: Any) -> Any:
        has = SimulatorFeatures
        response.features.features = [
            has.SIMULATION_RESET,
            has.SIMULATION_RESET_STATE,
            has.SIMULATION_STATE_GETTING,
            has.SIMULATION_STATE_SETTING,
            has.SIMULATION_STATE_PAUSE,
            *([has.STEP_SIMULATION_SINGLE, has.STEP_SIMULATION_MULTIPLE] if step else []),
        ]
        response.features.custom_info = (
            'rl_edge: an episode is begun at a reset; simulated time goes on'
        )
        return response

    def reset(request: Any, response: Any) -> Any:
        scopes = srv.ResetSimulation.Request
        if request.scope in (scopes.SCOPE_TIME, scopes.SCOPE_SPAWNED):
            response.result.result = Result.RESULT_FEATURE_UNSUPPORTED
            response.result.error_message = 'only the state can be reset: time goes on'
            return response
        response.result.result, response.result.error_message = _tried(simulation.reset, Result)
        return response

    def take_steps(request: Any, response: Any) -> Any:
        if step is None:
            response.result.result = Result.RESULT_FEATURE_UNSUPPORTED
            response.result.error_message = 'a step needs the answer of a policy'
        elif not simulation.is_paused:
            response.result.result = failed
            response.result.error_message = 'the simulation is not paused'
        else:
            for _ in range(request.steps):
                step()
            response.result.result = ok
        return response

    def get_state(_: Any, response: Any) -> Any:
        states = SimulationState
        response.state.state = (
            states.STATE_PAUSED if simulation.is_paused else states.STATE_PLAYING
        )
        response.result.result = ok
        return response

    def set_state(request: Any, response: Any) -> Any:
        states, wanted = SimulationState, request.state.state
        answers = srv.SetSimulationState.Response
        is_paused = simulation.is_paused
        response.result.result = ok
        if wanted == states.STATE_QUITTING:
            finish(0)
        elif wanted == states.STATE_STOPPED:
            simulation.pause(True)
            response.result.result, response.result.error_message = _tried(
                simulation.reset, Result
            )
        elif wanted not in (states.STATE_PLAYING, states.STATE_PAUSED):
            response.result.result = answers.INCORRECT_TRANSITION
            response.result.error_message = f'there is no state {wanted} to go to'
        elif is_paused == (wanted == states.STATE_PAUSED):
            response.result.result = answers.ALREADY_IN_TARGET_STATE
        else:
            simulation.pause(wanted == states.STATE_PAUSED)
        return response

    for kind, name, answer in (
        (srv.GetSimulatorFeatures, 'get_simulator_features', features),
        (srv.ResetSimulation, 'reset_simulation', reset),
        (srv.StepSimulation, 'step_simulation', take_steps),
        (srv.GetSimulationState, 'get_simulation_state', get_state),
        (srv.SetSimulationState, 'set_simulation_state', set_state),
    ):
        node.create_service(kind, f'~/{name}', answer)
    return True


def _tried(reset: Callable[[], Any], result: Any) -> tuple[int, str]:
    try:
        reset()
    except ConfigurationError as error:
        return result.RESULT_OPERATION_FAILED, str(error)
    return result.RESULT_OK, ''
