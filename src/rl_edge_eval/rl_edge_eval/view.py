"""``rl_edge view BAG``: a run in the Rerun viewer, without ROS.

The robot moves in 3D, drawn from the shapes of its MuJoCo model and the recorded observations;
actions, rewards, latency, CPU and memory are on the same time line: that of recording. Or write a
bag for viewers of ROS, with the robot in it: see `view_mcap`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_edge_core.errors import RlEdgeError
from rl_edge_core.extras import require_extra
from rl_edge_core.files import ensure_folder
from rl_edge_eval.output.columns import make_console
from rl_edge_eval.recorded_robot import RecordedRobot, read_robot, simulation_of

if TYPE_CHECKING:
    import rerun

TIME_LINE = 'recorded'


def shape_of(rr: Any, model: Any, geom: int) -> Any:
    """Return the Rerun archetype of a geom at the origin; None for what is not drawn."""
    from mujoco import mjtGeom

    kind, size = int(model.geom_type[geom]), model.geom_size[geom]
    colour = {'colors': [tuple(round(255 * float(c)) for c in model.geom_rgba[geom])]}
    solid = {**colour, 'fill_mode': 'solid'}
    if kind == mjtGeom.mjGEOM_SPHERE:
        return rr.Ellipsoids3D(half_sizes=[[size[0]] * 3], **solid)
    if kind == mjtGeom.mjGEOM_ELLIPSOID:
        return rr.Ellipsoids3D(half_sizes=[size], **solid)
    if kind == mjtGeom.mjGEOM_BOX:
        return rr.Boxes3D(half_sizes=[size], **solid)
    if kind in (mjtGeom.mjGEOM_CAPSULE, mjtGeom.mjGEOM_CYLINDER):  # the latter with round ends
        begin = [[0.0, 0.0, -float(size[1])]]
        return rr.Capsules3D(lengths=[2 * size[1]], radii=[size[0]], translations=begin, **colour)
    if kind == mjtGeom.mjGEOM_MESH:
        mesh = int(model.geom_dataid[geom])
        first, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
        face, faces = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
        return rr.Mesh3D(
            vertex_positions=model.mesh_vert[first : first + count],
            triangle_indices=model.mesh_face[face : face + faces],
            vertex_colors=colour['colors'] * count,
        )
    return None


def log_robot(rr: Any, robot: RecordedRobot, out: rerun.RecordingStream) -> str:
    """Log the robot in 3D; return why that could not be, or nothing."""
    import mujoco

    try:
        simulation, found = simulation_of(robot)
    except RlEdgeError as error:
        return str(error)
    model, data = simulation.model, simulation.data
    shapes = {geom: shape_of(rr, model, geom) for geom in range(model.ngeom)}
    shapes = {geom: shape for geom, shape in shapes.items() if shape is not None}
    places = np.empty((len(found), model.ngeom, 3), np.float32)
    turns = np.empty((len(found), model.ngeom, 4))
    for index, position in enumerate(found):
        data.qpos[:] = position
        mujoco.mj_kinematics(model, data)
        places[index] = data.geom_xpos
        for geom in shapes:
            mujoco.mju_mat2Quat(turns[index, geom], data.geom_xmat[geom])
    ground = np.zeros((len(found), 3), np.float32)
    if model.nv and model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE:
        ground[:, :2] = found[:, :2]  # the view goes along with the robot
        out.log('path', rr.LineStrips3D([ground], colors=[(120, 120, 120)]), static=True)
    # Before the first step it stands where that led to: reports of nodes begin earlier.
    begin_ns = min(times[0] for times, _ in robot.scalars.values())
    times_ns = [min(begin_ns, robot.time_ns[0] - 1), *robot.time_ns]
    first = np.r_[0, : len(found)]
    times = _times(rr, times_ns)
    out.log('/', rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    out.send_columns(
        'robot', indexes=[times], columns=rr.Transform3D.columns(translation=ground[first])
    )
    for geom, shape in shapes.items():
        path = f'robot/{model.geom(geom).name or geom}'
        out.log(path, shape, static=True)
        out.send_columns(
            path,
            indexes=[times],
            columns=rr.Transform3D.columns(
                translation=(places[:, geom] - ground)[first],
                quaternion=np.roll(turns[:, geom], -1, axis=1)[first].astype(np.float32),  # xyzw
            ),
        )
    simulation.close()
    return ''


def log_curves(rr: Any, robot: RecordedRobot, out: rerun.RecordingStream) -> None:
    """Log what is plotted, and what happened as text."""
    for path, (times, values) in robot.scalars.items():
        name = path.partition('/')[2]
        out.log(path, rr.SeriesLines(names=[name]), static=True)
        out.send_columns(
            path,
            indexes=[_times(rr, times)],
            columns=rr.Scalars.columns(scalars=np.array(values, np.float64)),
        )
    if robot.texts:
        moments, lines = zip(*robot.texts, strict=True)
        out.send_columns(
            'episodes',
            indexes=[_times(rr, list(moments))],
            columns=rr.TextLog.columns(text=list(lines)),
        )


def _times(rr: Any, times_ns: list[int]) -> Any:
    return rr.TimeColumn(TIME_LINE, timestamp=np.array(times_ns, 'datetime64[ns]'))


def view(path: Path, *, save: Path | None = None, robot: str | None = None) -> list[str]:
    """Show a bag in the Rerun viewer, or save it as an .rrd file; return what could not be shown.

    Raise MissingExtraError without rerun-sdk, and what `read_robot` raises.
    """
    require_extra('rerun', 'rerun')
    import rerun as rr
    import rerun.blueprint as rrb

    recorded = read_robot(path, robot)
    out = rr.RecordingStream(f'rl_edge {recorded.spec.environment_id}')
    groups = dict.fromkeys(path.partition('/')[0] for path in recorded.scalars)
    plots = [rrb.TimeSeriesView(origin=f'/{group}', name=group) for group in groups]
    blueprint = rrb.Blueprint(  # the robot beside its curves, one plot per unit
        rrb.Horizontal(
            rrb.Vertical(
                rrb.Spatial3DView(origin='/robot', contents=['/robot/**', '/path'], name='robot'),
                rrb.TextLogView(origin='/episodes', name='episodes'),
                row_shares=[4, 1],
            ),
            rrb.Vertical(*plots),
        ),
        rrb.TimePanel(state='collapsed'),
    )
    if save is None:
        out.spawn(default_blueprint=blueprint)
    else:
        ensure_folder(save.parent)
        out.save(save, default_blueprint=blueprint)
    problem = log_robot(rr, recorded, out)
    log_curves(rr, recorded, out)
    out.flush()
    return [f'no robot in 3D: {problem}'] if problem else []


def run(arguments: argparse.Namespace) -> None:
    """Show or save the bag."""
    console = make_console(data_on_stdout=False)
    save: Path | None = arguments.save
    if save is not None and save.suffix == '.mcap':
        from rl_edge_eval.view_mcap import save_mcap

        problems = save_mcap(arguments.bag, save, robot=arguments.robot)
        how = 'open it in Lichtblick or Foxglove'
    else:
        problems = view(arguments.bag, save=save, robot=arguments.robot)
        how = f'open it with: rerun {save}'
    for problem in problems:
        console.print(problem, style='yellow', highlight=False)
    if save is not None:
        console.print(f'wrote {save}; {how}')
