"""Drives the lab's API with proxmoxer, as scripts do with a real cluster; ends with 'all as expected'."""

import io
import os
import time

from proxmoxer import ProxmoxAPI
from proxmoxer.core import ResourceException

host, port = os.environ["LAB_ADDRESS"].rsplit(":", 1)
pve = ProxmoxAPI(
    host,
    port=int(port),
    user="root@pam",
    password=os.environ["LAB_PASSWORD"],
    verify_ssl=os.environ["LAB_CA"],
    timeout=30,
)


def finished(upid):
    """Waits for a task and returns how it ended."""
    node = upid.split(":")[1]
    for _ in range(100):
        status = pve.nodes(node).tasks(upid).status.get()
        if status["status"] == "stopped":
            return status["exitstatus"]
        assert status["status"] == "running", status
        time.sleep(0.1)
    raise AssertionError("the task does not end: " + upid)


def refused(status, call, **params):
    """The text of a call that must be refused."""
    try:
        answer = call(**params)
    except ResourceException as error:
        assert error.status_code == status, error
        return error
    raise AssertionError("not refused: %r" % (answer,))


assert pve.version.get()["version"].startswith("9."), pve.version.get()
assert sorted(node["node"] for node in pve.nodes.get()) == ["pve1", "pve2", "pve3"]
assert pve.cluster.status.get()[0]["quorate"] == 1

# A template: from the list, and one's own.
template = next(a["template"] for a in pve.nodes("pve1").aplinfo.get() if a["os"] == "debian-13")
assert finished(pve.nodes("pve1").aplinfo.post(storage="local", template=template)) == "OK"
own = io.BytesIO(b"\x1f\x8b not really a tarball")
own.name = "own.tar.gz"
assert finished(pve.nodes("pve1").storage("local").upload.post(content="vztmpl", filename=own)) == "OK"
volumes = [entry["volid"] for entry in pve.nodes("pve1").storage("local").content.get(content="vztmpl")]
assert "local:vztmpl/" + template in volumes and "local:vztmpl/own.tar.gz" in volumes, volumes

# A container on a storage: made, started, changed, stopped.
vmid = pve.cluster.nextid.get()
ct = dict(vmid=vmid, ostemplate="local:vztmpl/" + template, hostname="web", rootfs="local-lvm:4", memory=256)
assert finished(pve.nodes("pve1").lxc.post(net0="name=eth0,bridge=vmbr0,ip=dhcp", tags="b;a", **ct)) == "OK"
config = pve.nodes("pve1").lxc(vmid).config.get()
assert config["hostname"] == "web" and config["tags"] == "a;b" and config["memory"] == 256, config
assert config["rootfs"] == "local-lvm:vm-%s-disk-0,size=4G" % vmid, config["rootfs"]
assert "already exists" in str(refused(500, pve.nodes("pve2").lxc.post, **ct))
assert finished(pve.nodes("pve1").lxc(vmid).status.start.post()) == "OK"
assert pve.nodes("pve1").lxc(vmid).status.current.get()["status"] == "running"
error = refused(400, pve.nodes("pve1").lxc(vmid).config.put, memory="lots")
assert "memory" in error.errors, error.errors
assert "detected modified configuration" in str(
    refused(500, pve.nodes("pve1").lxc(vmid).config.put, memory=512, digest="0" * 40)
)
assert finished(pve.nodes("pve1").lxc(vmid).status.shutdown.post()) == "OK"

# A device is root's alone: not even a token of root with all rights may name it.
token = pve.access.users("root@pam").token("script").post(privsep=0)
with_token = ProxmoxAPI(
    host,
    port=int(port),
    user="root@pam",
    token_name="script",
    token_value=token["value"],
    verify_ssl=os.environ["LAB_CA"],
)
text = str(refused(403, with_token.nodes("pve1").lxc.post, **dict(ct, vmid=500, rootfs="/dev/drbd100,shared=1")))
assert "mount point type device is only allowed for root@pam" in text, text
assert len(with_token.cluster.resources.get(type="vm")) == 1

# High availability by a rule.
pve.cluster.ha.resources.post(sid="ct:" + vmid, state="started")
pve.cluster.ha.rules.post(rule="web", type="node-affinity", resources="ct:" + vmid, nodes="pve1:2,pve2")
assert pve.cluster.ha.rules("web").get()["nodes"] == "pve1:2,pve2"
for _ in range(100):
    states = {e["sid"]: e["state"] for e in pve.cluster.ha.status.current.get() if e["type"] == "service"}
    if states == {"ct:" + vmid: "started"}:
        break
    time.sleep(0.1)
else:
    raise AssertionError("HA does not start it: %r" % states)
assert "HA resources" in str(refused(500, pve.nodes("pve1").lxc(vmid).delete))
assert "migrated to rules" in str(refused(500, pve.cluster.ha.groups.get))
pve.cluster.ha.resources("ct:" + vmid).delete()
assert pve.cluster.ha.rules.get() == []
assert finished(pve.nodes("pve1").lxc(vmid).delete(force=1)) == "OK"
assert pve.cluster.resources.get(type="vm") == []

assert "Method 'GET /nodes/pve1/nonsense' not implemented" in str(refused(501, pve.nodes("pve1").nonsense.get))
print("all as expected")
