from setuptools import find_packages, setup

package_name = 'rl_edge_compress'

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={package_name: ['py.typed', '*.c', '*.in']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + package_name]),
        ('share/' + package_name, ['package.xml']),
    ],
    install_requires=[
        'setuptools',
        'numpy',
        'tensorflow-cpu',
        'ai-edge-litert',
        'litert-quantizer',
        'matplotlib',
        'psutil',
        'tqdm',
    ],
    zip_safe=True,
    maintainer='rl_edge maintainers',
    maintainer_email='maintainers@rl-edge.dev',
    description='Compression of policies, and the report of what each recipe costs and saves.',
    license='Apache-2.0',
    entry_points={'rl_edge.commands': ['rl_edge_compress = rl_edge_compress.commands:COMMANDS']},
)
