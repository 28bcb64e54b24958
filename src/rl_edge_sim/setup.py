from setuptools import find_packages, setup

package_name = 'rl_edge_sim'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={package_name: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
        ('share/' + package_name + '/config', ['config/sim_node.yaml']),
    ],
    install_requires=['setuptools', 'numpy', 'gymnasium[mujoco]', 'PyYAML'],
    zip_safe=True,
    maintainer='rl_edge maintainers',
    maintainer_email='maintainers@rl-edge.dev',
    description='The simulator: Gymnasium environments, the rollout, and the sim node.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': ['sim_node = rl_edge_sim.sim_parameters:main'],
        'rl_edge.commands': ['rl_edge_sim = rl_edge_sim.commands:COMMANDS'],
        'rl_edge.parameters': ['sim_node = rl_edge_sim.sim_parameters:SimParameters'],
    },
)
