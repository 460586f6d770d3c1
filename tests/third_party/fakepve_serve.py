"""A third-party fake of the Proxmox API on loopback, told what to do line by line.

Prints one line of JSON at the start: {"port": ..., "ca": PATH}. Then every line of standard input is a JSON list, a step:
  ["call", [ARG, ...], {KEYWORD: VALUE}, NAME]      calls a method of the fake
  ["guest", VMID, ATTRIBUTE, VALUE]                 sets something about a guest
  ["set", PATH, VALUE]                              sets an attribute; PATH is a list: attributes, or keys of a dict
  ["requests"]                                      answers the requests seen so far, and forgets them
and is answered by a line: {"ok": VALUE} or {"error": TEXT}.
"""

import asyncio
import inspect
import json
import logging
import os
import sys
from urllib.parse import quote

from fakepve import FakePve
from fakepve.certs import make_cert


class Fake(FakePve):
    """Proxmox reads the cookie percent-decoded; the fake takes it as it comes."""

    def issue_ticket(self, user):
        ticket, csrf = super().issue_ticket(user)
        self.tickets[quote(ticket, safe='')] = self.tickets[ticket]
        return ticket, csrf


def lookup(root, path):
    for part in path:
        root = root[part] if isinstance(root, dict) else getattr(root, part)
    return root


async def step(pve, what):
    if what[0] == 'call':
        args, kwargs, name = what[1:]
        result = getattr(pve, name)(*args, **kwargs)
        if inspect.isawaitable(result):
            result = await result
        return result if isinstance(result, (str, int, float, bool, list, dict, type(None))) else repr(result)
    if what[0] == 'guest':
        setattr(pve.guest(what[1]), what[2], what[3])
        return None
    if what[0] == 'set':
        parent = lookup(pve, what[1][:-1])
        if isinstance(parent, dict):
            parent[what[1][-1]] = what[2]
        else:
            setattr(parent, what[1][-1], what[2])
        return None
    if what[0] == 'requests':
        seen, pve.requests = pve.requests, []
        return [repr(request) for request in seen]
    raise ValueError(what[0])


async def main(directory):
    # A dropped connection is dropped on purpose.
    logging.disable(logging.CRITICAL)
    pve = Fake(host='127.0.0.1', port=0)
    pve.version, pve.release_version = '9.1.7', '9.1'
    certfile, keyfile, _ = make_cert(directory)
    await pve.start(certfile, keyfile)
    print(json.dumps({'port': pve.port, 'ca': certfile}), flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        try:
            answer = {'ok': await step(pve, json.loads(line))}
        except Exception as error:
            answer = {'error': '{0}: {1}'.format(type(error).__name__, error)}
        print(json.dumps(answer, default=repr), flush=True)
    os._exit(0)


asyncio.run(main(sys.argv[1]))
