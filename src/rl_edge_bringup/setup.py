from glob import glob

from setuptools import find_packages, setup

package_name = 'rl_edge_bringup'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={package_name: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
        ('share/' + package_name + '/config', sorted(glob('config/*.*'))),
        ('share/' + package_name + '/config/views', sorted(glob('config/views/*.*'))),
        ('share/' + package_name + '/launch', sorted(glob('launch/*.launch.py'))),
        ('share/' + package_name + '/security', sorted(glob('security/*.xml'))),
    ],
    install_requires=['setuptools', 'psutil', 'PyYAML'],
    zip_safe=True,
    maintainer='rl_edge maintainers',
    maintainer_email='maintainers@rl-edge.dev',
    description='Systems of rl_edge nodes and the front-ends that start them.',
    license='Apache-2.0',
    entry_points={'rl_edge.commands': ['rl_edge_bringup = rl_edge_bringup.commands:COMMANDS']},
)
