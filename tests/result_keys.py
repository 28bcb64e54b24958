"""The keys of results/*.json that others read: they stay, whatever else is added to the files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EACH = '*'
"""Stands for every key of a mapping whose keys are names, such as those of models."""


def keys(text: str, **nested: Any) -> dict[str, Any]:
    """Return the keys in ``text``, and those of ``nested``, with what is inside of them."""
    return {**dict.fromkeys(text.split()), **nested}


BENCH_CLUSTER = keys(
    'command machine seconds fragment_ms bytes_per_step',
    ppo=keys('local_steps_per_s cluster_steps_per_s collect_over_local train_steps_per_s'),
    sac=keys('local_steps_per_s cluster_steps_per_s train_over_local'),
    ceiling=keys('ppo_steps_per_s sac_transitions_per_s'),
)
INTERVAL = keys('estimate low high count')
MODEL = keys('folder recipe runtime model_id sha256 note')
MACHINE = keys(
    'processor cores memory_gb load_average_1min system python ros_distro',
    libraries=keys('numpy'),
)
DEMO_METRICS = keys(
    'return_mean forward_distance_m episode_length_mean policy_memory_mb '
    'policy_cpu_ms_per_action first_action_s inference_us_p50 inference_us_p99 response_us_p50 '
    'response_us_p99 steps_per_s'
)
DEMO = keys(
    'ratios_are note arguments',
    configurations={'compressed': DEMO_METRICS, 'uncompressed': DEMO_METRICS},
    ratios=DEMO_METRICS,
    return_kept=INTERVAL,
    models={EACH: MODEL},
    episodes={
        EACH: keys(
            'seed episode_return length forward_distance mean_speed ended_by reward_terms '
            'termination_reason'
        )
    },
    lost_transitions=keys('compressed uncompressed'),
    machine=MACHINE,
)
ACTING = keys(
    'policy_cpu_percent_max policy_cpu_ms_per_action policy_resident_mb policy_peak_mb '
    'policy_unique_mb loop_cpu_percent loop_cpu_percent_max loop_resident_mb first_action_sec '
    'inference_us_p50 inference_us_p99 response_us_p50 response_us_p99 steps missed_share '
    'safe_share mean_speed_m_per_s falls',
    policy_cpu_percent=INTERVAL,
    pictures=keys(
        'pictures period_ms rate_hz', interval_ms=keys('p50 p99 max count'), late_share=INTERVAL
    ),
)
SIDE = keys(
    'file_bytes notes',
    model=MODEL,
    episodes=keys('seed return length forward_distance_m ended_by'),
    summary=dict.fromkeys(
        (
            'episode_return',
            'forward_distance_m',
            'forward_distance_median_m',
            'mean_speed_m_per_s',
            'episode_length',
            'fall_share',
        ),
        INTERVAL,
    ),
    acting={EACH: ACTING},
)
REPORT = keys(
    'missing arguments',
    models={
        EACH: keys(
            'float32_file_bytes',
            uncompressed=SIDE,
            compressed=SIDE,
            cpu_percent_difference={EACH: INTERVAL},
        )
    },
    claims=keys('text criterion verdict', findings={EACH: keys('verdict figure')}),
    machine=MACHINE,
)
ENVELOPE = keys(
    'arguments',
    groups=keys(
        'configuration real_time_factor smallest_core_percent',
        runs=keys(
            'configuration real_time_factor core_percent returns return_mean forward_distance_m '
            'mean_speed_m_per_s falls steps cpu_ms_per_action missed_share safe_share '
            'response_ms_p50 response_ms_p99 return_kept speed_kept walks',
            throttling=keys(
                'period_us quota_us periods throttled_periods throttled_sec throttled_share'
            ),
        ),
    ),
    machine=MACHINE,
)
SLOPE = keys('mean per_hour percent_per_hour low_percent_per_hour high_percent_per_hour samples')
SOAK = keys(
    'minutes mode environment_id steps warm_up_share bag_mb',
    model=MODEL,
    slopes=dict.fromkeys(
        (
            'response_us',
            *(
                f'{node}_{what}'
                for node in ('sim', 'policy', 'recorder')
                for what in ('unique_memory_mb', 'resident_memory_mb', 'threads', 'open_files')
            ),
        ),
        SLOPE,
    ),
    shared_memory_files=keys('before after'),
    orphaned_shared_memory_files=keys('before after'),
    machine=MACHINE,
)
TWO_HOSTS = keys(
    'response_ratio_p50',
    links={EACH: keys('response_us_p50 response_us_p99 steps_per_sec steps')},
    cut=keys(
        'cut_sec safe_action_after_sec report recovered_after_sec safe_actions lost_transitions'
    ),
    load_model=keys('bytes loaded_after_sec'),
    robots=keys('robots steps_per_sec response_us_p50 response_us_p99'),
    model=MODEL,
    machine=MACHINE,
)
FAULTS = keys(
    'passed',
    faults=keys('name mode expected happened lost passed steps duration_sec'),
    machine=MACHINE,
)


def missing_keys(content: Any, wanted: Mapping[str, Any] | None, where: str = '') -> list[str]:
    """Return the paths of keys that ``content`` lacks; lists are checked item by item.

    What is null, such as what was not measured, has nothing inside of it.
    """
    if not wanted or content is None:
        return []
    if isinstance(content, list):
        return [path for item in content for path in missing_keys(item, wanted, where)]
    if EACH in wanted:
        wanted = dict.fromkeys(content, wanted[EACH])
    missing = []
    for key, inside in wanted.items():
        path = f'{where}.{key}'.lstrip('.')
        if key not in content:
            missing.append(path)
        else:
            missing += missing_keys(content[key], inside, path)
    return missing
