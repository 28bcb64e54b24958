from glob import glob

from setuptools import find_packages, setup

package_name = 'rl_edge_train'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={package_name: ['py.typed', 'presets/*.yaml']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
        ('share/' + package_name + '/config', sorted(glob('config/*.yaml'))),
    ],
    install_requires=['setuptools', 'numpy', 'PyYAML', 'gymnasium', 'matplotlib', 'tqdm'],
    zip_safe=False,
    maintainer='rl_edge maintainers',
    maintainer_email='maintainers@rl-edge.dev',
    description='Reinforcement learning for rl_edge: algorithms, buffers and the fast trainer.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': ['train_node = rl_edge_train.train_parameters:main'],
        'rl_edge.parameters': ['train_node = rl_edge_train.train_parameters:TrainParameters'],
        'rl_edge.commands': ['rl_edge_train = rl_edge_train.commands:COMMANDS'],
    },
)
