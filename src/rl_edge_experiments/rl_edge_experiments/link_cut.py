"""What happens to a loop in real time while the link to its policy is cut, and over it after."""

import contextlib
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from rl_edge_bringup.models import ChosenModel
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_core.artifact import pack_artifact
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.files import sha256_of
from rl_edge_core.ros import qos
from rl_edge_experiments.network import TwoHosts
from rl_edge_experiments.observer import Observer
from rl_edge_interfaces.msg import Transition
from rl_edge_interfaces.srv import LoadModel

CUT_SEC = 3.0
STEADY_STEPS = 40
"""Steps in a row by the policy's own actions that count as recovered."""
WAIT_SEC = 120.0
"""For anything that must happen; generous, since it costs nothing where all is well."""
ARGUMENTS = {
    'mode': 'realtime',
    'load_model': 'archive',
    'on_policy_timeout': 'wait',
    'policy_timeout_sec': '1.0',
}
"""Of a run that this may happen to."""


class LinkCut:
    """Conditions of a run: cut the link in the middle of an episode, mend it, send a policy."""

    def __init__(self, hosts: TwoHosts, model: ChosenModel) -> None:
        """Prepare; ``model`` is sent once the loop has recovered."""
        self._hosts, self._model = hosts, model
        self._observer: Observer
        self._steps: list[tuple[float, Transition]] = []
        """With their times of arrival, steady clock in s."""
        self._reports: list[DiagnosticStatus] = []

    @contextlib.contextmanager
    def __call__(self, _: RunningSystem, observer: Observer) -> Iterator[dict[str, Any]]:
        """Yield what was measured; raise RlEdgeError for what was expected and did not come."""
        self._observer = observer
        steps = observer.subscribed(Transition, 'transition', self._on_step, qos.transition())
        reports = observer.subscribed(DiagnosticArray, '/diagnostics', self._on_reports, 50)
        with steps, reports:
            yield {'cut': self._cut(), 'load_model': self._send()}

    def _on_step(self, message: Transition) -> None:
        self._steps.append((time.monotonic(), message))

    def _on_reports(self, message: DiagnosticArray) -> None:
        self._reports.extend(message.status)

    def _cut(self) -> dict[str, Any]:
        """Cut the link and mend it: safe action, report, recovery."""
        self._wait_until_steady('the loop runs before the cut')
        self._reports.clear()
        began = time.monotonic()
        self._hosts.cut()
        try:
            safe = self._wait_for(
                'the safe action',
                lambda: [sec for sec, step in self._steps if step.safe_action and sec > began],
            )
            report = self._wait_for('a report of the safe action', self._safety_report)
            self._wait_for('the time of the cut', lambda: time.monotonic() - began > CUT_SEC)
        finally:
            self._hosts.mend()
        mended = time.monotonic()
        recovered = self._wait_until_steady('the loop runs after the cut')
        return {
            'cut_sec': round(mended - began, 2),
            'safe_action_after_sec': round(safe[0] - began, 2),
            'report': report,
            'recovered_after_sec': round(recovered - mended, 2),
        }

    def _send(self) -> dict[str, Any]:
        """Send an artifact to the policy on the other host and let it act there."""
        archive = pack_artifact(self._model.folder, [self._model.recipe])
        request = LoadModel.Request(archive=array('B', archive), sha256=sha256_of(archive))
        began = time.monotonic()
        with self._observer.client(LoadModel, 'policy/load_model') as client:
            self._wait_for('the service load_model', client.service_is_ready)
            future = client.call_async(request)
            self._wait_for('an answer of load_model', future.done)
        duration_sec = time.monotonic() - began
        answer = future.result()
        if not answer.success:
            raise RlEdgeError(f'refused on the other host: {answer.message}')
        self._wait_for(
            'the new model acts', lambda: self._steps[-1][1].model_hash == answer.model_hash
        )
        return {'bytes': len(archive), 'loaded_after_sec': round(duration_sec, 2)}

    def _safety_report(self) -> str:
        said = [one.message for one in list(self._reports) if one.name.endswith('/sim')]
        return next((text for text in said if 'safe action is applied' in text), '')

    def _wait_until_steady(self, what: str) -> float:
        """Return when the last of `STEADY_STEPS` from now on came, all by the policy's actions."""
        enough = len(self._steps) + STEADY_STEPS

        def latest() -> list[tuple[float, Transition]]:
            latest = self._steps[-STEADY_STEPS:]
            own = all(step.model_hash and not step.safe_action for _, step in latest)
            return latest if own and len(self._steps) >= enough else []

        return float(self._wait_for(what, latest)[-1][0])

    def _wait_for(self, what: str, condition: Callable[[], Any]) -> Any:
        try:
            return self._observer.wait_for(condition, WAIT_SEC)
        except TimeoutError as error:
            raise RlEdgeError(f'{what}: did not happen within {WAIT_SEC:g} s') from error
