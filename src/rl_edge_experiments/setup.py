from setuptools import find_packages, setup

package_name = 'rl_edge_experiments'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={package_name: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=['setuptools', 'matplotlib', 'numpy', 'pillow', 'psutil', 'PyYAML', 'rich'],
    zip_safe=True,
    maintainer='rl_edge maintainers',
    maintainer_email='maintainers@rl-edge.dev',
    description='Experiments that run whole systems and compare what they recorded.',
    license='Apache-2.0',
    entry_points={
        'rl_edge.commands': ['rl_edge_experiments = rl_edge_experiments.commands:COMMANDS']
    },
)
