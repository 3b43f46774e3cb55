"""Builds the rings if there are none, and runs the four servers of OpenStack Swift, each in a process of its own. Loading their
modules takes seconds, so it is done once, before the processes fork.

Arguments: the folder of the settings, and `name:port` of each storage server.
"""
import ctypes
import os
import signal
import sys
import time
import urllib.error
import urllib.request

from swift.common.utils import eventlet_monkey_patch

eventlet_monkey_patch()

import swift.account.server  # noqa: E402, F401
import swift.container.server  # noqa: E402, F401
import swift.obj.server  # noqa: E402, F401
import swift.proxy.server  # noqa: E402, F401
from swift.common.middleware import catch_errors, dlo, healthcheck, memcache, slo, tempauth  # noqa: E402, F401
from swift.common.middleware.s3api import s3api  # noqa: E402, F401
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import run_wsgi  # noqa: E402

PR_SET_PDEATHSIG = 1
# The servers stay in the process group of this process, so that a signal to the group reaches them.
os.setsid = lambda: None


def build_ring(folder, name, port):
    """One device, one copy of each object."""
    path = os.path.join(folder, name + '.ring.gz')
    if os.path.exists(path):
        return
    builder = RingBuilder(4, 1, 1)
    builder.add_dev({'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': port, 'replication_ip': '127.0.0.1',
                     'replication_port': port, 'device': 'd1', 'weight': 1.0, 'meta': ''})
    builder.rebalance()
    builder.get_ring().save(path)


def fork_server(folder, name, ports_before=()):
    """Runs it as soon as the other ports answer. It ends with this process, also where this one is killed."""
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for port in ports_before:
            wait_for_answer(port)
        sys.exit(run_wsgi(os.path.join(folder, name + '.conf'), name + '-server'))


def wait_for_answer(port):
    """Until a request is answered with any status."""
    while True:
        try:
            urllib.request.urlopen('http://127.0.0.1:%d/' % port).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.02)


folder = sys.argv[1]
servers = [(name, int(port)) for name, port in (argument.split(':') for argument in sys.argv[2:])]
for name, port in servers:
    build_ring(folder, name, port)
for name, _ in servers:
    fork_server(folder, name)
# Without the others the proxy says that a bucket does not exist, and remembers this.
fork_server(folder, 'proxy', [port for _, port in servers])
# If one server ends, all end.
os.wait()
sys.exit(1)
