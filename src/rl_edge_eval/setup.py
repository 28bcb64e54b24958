from glob import glob

from setuptools import find_packages, setup

package_name = 'rl_edge_eval'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={package_name: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
        ('share/' + package_name + '/config', sorted(glob('config/*.yaml'))),
    ],
    install_requires=[
        'setuptools',
        'lz4',
        'matplotlib',
        'mcap',
        'mcap-ros2-support',
        'numpy',
        'PyYAML',
        'rich',
        'zstandard',
    ],
    zip_safe=True,
    maintainer='rl_edge maintainers',
    maintainer_email='maintainers@rl-edge.dev',
    description='Record, evaluate and replay what the control loop did.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': ['recorder_node = rl_edge_eval.commands:record_node'],
        'rl_edge.parameters': [
            'recorder_node = rl_edge_core.shared_parameters:RecorderParameters'
        ],
        'rl_edge.commands': ['rl_edge_eval = rl_edge_eval.commands:COMMANDS'],
    },
)
