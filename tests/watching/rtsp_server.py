"""An RTSP camera by GStreamer's own server, on the loopback address.

    python3 rtsp_server.py PORT PIPELINE

Run by the system's Python, which has the bindings (Debian: python3-gi, gir1.2-gst-rtsp-server-1.0 and
gstreamer1.0-plugins-base, -good, -bad, -ugly). The stream is at rtsp://127.0.0.1:PORT/live, for the user ``user`` with
the password ``secret`` at /private.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
port, pipeline = sys.argv[1:]
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)


def factory(*users: str) -> object:
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(f"( {pipeline} )")
    made.set_shared(True)
    permissions = GstRtspServer.RTSPPermissions()
    for role in ("anybody", "user"):
        permissions.add_permission_for_role(role, "media.factory.access", True)
        permissions.add_permission_for_role(role, "media.factory.construct", role in users)
    made.set_permissions(permissions)
    return made


def token(role: str) -> object:
    made = GstRtspServer.RTSPToken()
    made.set_string("media.factory.role", role)
    return made


mounts = server.get_mount_points()
mounts.add_factory("/live", factory("anybody", "user"))
mounts.add_factory("/private", factory("user"))
auth = GstRtspServer.RTSPAuth()
auth.add_basic(GstRtspServer.RTSPAuth.make_basic("user", "secret"), token("user"))
auth.set_default_token(token("anybody"))
server.set_auth(auth)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
