# Runs MiniStack behind engine's proxy: python -I -S -B -c THIS PACKAGES FOLDER, with the server's key as the first line of
# standard input.
import asyncio
import os
import resource
import signal
import sys
import threading

packages, folder = sys.argv[1:3]
key = sys.stdin.readline().strip()

# -I and -S leave only the standard library, so no other file can shadow a module.
sys.path.append(packages)


def end_with_the_engine():
    """The other end of standard input closes however engine ends, also by SIGKILL."""
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)


threading.Thread(target=end_with_the_engine, daemon=True).start()

from ministack.core import lambda_runtime, sigv4  # noqa: E402

without_key = lambda_runtime.execution_credentials


def with_key(config):
    """Functions call the server through the proxy as well."""
    credentials = without_key(config)
    credentials["AWS_ACCESS_KEY_ID"] = f"{key}{credentials['AWS_ACCESS_KEY_ID']}F"
    return credentials


# Before the modules that import them by name. A signature covers the access key id, which the proxy replaces; so the
# proxy checks the access key id instead.
lambda_runtime.execution_credentials = with_key
sigv4.signatures_match = lambda computed, provided: True

from hypercorn.asyncio import serve, tcp_server  # noqa: E402
from hypercorn.config import Config  # noqa: E402
from ministack import app  # noqa: E402

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
except (ValueError, OSError):
    pass  # macOS refuses "unlimited"; the soft limit stays.

read_all = tcp_server.TCPServer._read_data


async def read_to_the_end(self):
    """A connection that its client has closed would otherwise be kept until it has been idle for long enough."""
    await read_all(self)
    await self.idle_task.stop()


tcp_server.TCPServer._read_data = read_to_the_end

config = Config()
config.bind = ["unix:" + os.path.join(folder, "socket")]
config.umask = 0o077
config.backlog = 4096
# Longer than the proxy reuses an idle connection, so that none closes while a request is on its way.
config.keep_alive_timeout = 60
config.keep_alive_max_requests = sys.maxsize
config.loglevel = "WARNING"
asyncio.run(serve(app.app, config))
