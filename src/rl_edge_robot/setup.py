from setuptools import find_packages, setup

package_name = 'rl_edge_robot'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={package_name: ['py.typed', 'descriptions/*.yaml']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
        ('share/' + package_name + '/config', ['config/robot_node.yaml']),
    ],
    install_requires=['setuptools', 'numpy', 'PyYAML'],
    zip_safe=False,
    maintainer='rl_edge maintainers',
    maintainer_email='maintainers@rl-edge.dev',
    description='A robot behind standard ROS topics, driven by a policy in the loop of rl_edge.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': ['robot_node = rl_edge_robot.robot_parameters:main'],
        'rl_edge.parameters': ['robot_node = rl_edge_robot.robot_parameters:RobotParameters'],
    },
)
