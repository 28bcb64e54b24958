"""Stand-ins for the packages launch and launch_ros, where they are not installed.

They keep what our front-end hands over, and do nothing with it. What the real ones do with the
same is in test_launch_files.py.
"""

import sys
import traceback
import types


class Kept:
    """Keeps its arguments, and which of our functions were being called."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs
        codes = [frame.f_code for frame, _ in traceback.walk_stack(None)]
        self.own_calls = [
            code.co_name for code in reversed(codes) if '/rl_edge_bringup/' in code.co_filename
        ]


class Context:
    """A launch context with configurations, as an including file has set them."""

    is_shutdown = False

    def __init__(self, **configurations):
        self.launch_configurations = configurations


def install():
    """Make ``import launch`` find the stand-ins."""

    def module(name, *classes):
        made = types.ModuleType(name)
        for class_name in classes:
            setattr(made, class_name, type(class_name, (Kept,), {}))
        sys.modules[name] = made
        return made

    launch = module('launch', 'Action', 'LaunchDescription')
    launch.LaunchContext, launch.SomeEntitiesType = Context, object
    launch.actions = module(
        'launch.actions',
        *('DeclareLaunchArgument', 'ExecuteProcess', 'LogInfo', 'OpaqueFunction', 'Shutdown'),
        'TimerAction',
    )
    launch.events = module('launch.events')
    launch.events.process = module('launch.events.process', 'ProcessExited')
    module('launch_ros').actions = module('launch_ros.actions', 'Node')
