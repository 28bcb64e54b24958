from setuptools import find_packages, setup

package_name = 'rl_edge_policy'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={package_name: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
        ('share/' + package_name + '/config', ['config/policy_node.yaml']),
    ],
    # The runtimes are a choice of the machine: ai-edge-litert (preferred), tflite-runtime, or
    # tensorflow and keras for the uncompressed model.
    install_requires=['setuptools', 'numpy', 'psutil'],
    extras_require={
        'litert': ['ai-edge-litert'],
        'tflite_runtime': ['tflite-runtime'],
        'keras': ['tensorflow', 'keras'],
    },
    zip_safe=True,
    maintainer='rl_edge maintainers',
    maintainer_email='maintainers@rl-edge.dev',
    description='Policy runtimes (Keras, LiteRT, tflite-runtime) and the policy node.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': ['policy_node = rl_edge_policy.policy_parameters:main'],
        'rl_edge.parameters': ['policy_node = rl_edge_policy.policy_parameters:PolicyParameters'],
        'rl_edge.commands': ['rl_edge_policy = rl_edge_policy.commands:COMMANDS'],
    },
)
