from setuptools import find_packages, setup

package_name = 'rl_edge_core'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={package_name: ['py.typed', 'ros/*.xml']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
        ('bin', ['scripts/rl_edge']),  # on the PATH of a sourced workspace
    ],
    install_requires=['setuptools', 'numpy', 'psutil', 'PyYAML'],
    zip_safe=True,
    maintainer='rl_edge maintainers',
    maintainer_email='maintainers@rl-edge.dev',
    description='What more than one rl_edge package needs, each thing once.',
    license='Apache-2.0',
    entry_points={'rl_edge.commands': ['rl_edge_core = rl_edge_core.ros.topics:COMMANDS']},
)
