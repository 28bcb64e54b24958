"""How many of our functions are being called where the sim node takes its first step."""

import json
import os
import subprocess

MOST_CALLS = 6
PROBE = """
import json
import os
import traceback
from pathlib import Path
import gymnasium

class Probe(gymnasium.Wrapper):
    def step(self, action):
        codes = [frame.f_code for frame, _ in traceback.walk_stack(None)]
        names = [code.co_name for code in reversed(codes) if '/rl_edge_' in code.co_filename]
        own = [name for name in names if name != '<module>']
        with Path(os.environ['CALLS']).open('a') as file:
            file.write(json.dumps(own) + chr(10))
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, True, info
"""


def test_few_calls_lie_between_the_sim_node_and_its_first_step(tmp_path):
    (tmp_path / 'step_probe.py').write_text(PROBE)
    variables = {
        **os.environ,
        'CALLS': str(tmp_path / 'calls'),
        'PYTHONPATH': f'{tmp_path}:{os.environ["PYTHONPATH"]}',
    }
    words = ['rl_edge', 'sim', 'episodes:=1', f'output_folder:={tmp_path / "run"}']
    words += ['environment_arguments:={wrappers: ["step_probe:Probe"]}']
    done = subprocess.run(
        [*words, 'tolerated_arguments:=wrappers'],
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    made, first, *later = map(json.loads, (tmp_path / 'calls').read_text().splitlines())
    assert '__init__' in ' '.join(made)  # the environment's terms are looked up in a step
    assert later == []
    # From main to what steps the environment; its wrappers, which check the step, follow.
    plant = max(i for i, name in enumerate(first) if name == 'advance')
    assert first[0] == 'main'
    assert len(first[: plant + 1]) <= MOST_CALLS, first
