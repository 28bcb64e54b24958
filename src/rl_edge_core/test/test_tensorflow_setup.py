"""What TensorFlow says at every start is not seen; everything else is."""

import gc
import os
import sys

import pytest

from rl_edge_core.tensorflow_setup import importing, set_up_tensorflow, without_noise


def test_known_lines_are_kept_back_and_others_appear(capfd):
    with without_noise():
        os.write(2, b'I0000 port.cc:153] oneDNN custom operations are on.\n')
        os.write(2, b'a real warning\n')
        print('said by Python', file=sys.__stderr__)
    os.write(2, b'afterwards\n')
    assert capfd.readouterr().err.splitlines() == [
        'a real warning',
        'said by Python',
        'afterwards',
    ]


def test_what_was_held_appears_after_an_exception_too(capfd):
    def fail():
        with without_noise():
            os.write(2, b'libfoo.so: cannot open\n')
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    assert 'cannot open' in capfd.readouterr().err


@pytest.mark.parametrize('enabled', [True, False])
def test_an_import_leaves_no_trace(enabled, monkeypatch):
    before = gc.isenabled()
    for name in [name for name in sys.modules if name.partition('.')[0] == 'matplotlib']:
        monkeypatch.delitem(sys.modules, name)
    (gc.enable if enabled else gc.disable)()
    try:
        with importing():
            assert not gc.isenabled()
            with pytest.raises(ImportError):
                import matplotlib
        assert gc.isenabled() == enabled
        import matplotlib  # noqa: F401
    finally:
        (gc.enable if before else gc.disable)()


def test_the_users_own_settings_stay(monkeypatch):
    monkeypatch.setenv('TF_NUM_INTRAOP_THREADS', '4')
    monkeypatch.setenv('TF_CPP_MIN_LOG_LEVEL', '2')
    monkeypatch.setenv('XLA_FLAGS', '--mine')
    for _ in range(2):
        set_up_tensorflow()
    assert os.environ['TF_NUM_INTRAOP_THREADS'] == '4'
    assert os.environ['TF_CPP_MIN_LOG_LEVEL'] == '3'
    assert os.environ['XLA_FLAGS'] == '--mine --xla_cpu_multi_thread_eigen=false'
