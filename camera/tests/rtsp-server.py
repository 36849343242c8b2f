#!/usr/bin/python3
"""A camera for tests: GStreamer's RTSP server with a moving test image, or a video file again and again.

rtsp-server.py PORT [--auth basic|digest] [--file VIDEO] [--fps N]     user `ann`, password `lamp-ostrich`
"""
import argparse

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

arguments = argparse.ArgumentParser()
arguments.add_argument("port")
arguments.add_argument("--auth", choices=["basic", "digest"])
arguments.add_argument("--file")
arguments.add_argument("--fps", default="10")
arguments = arguments.parse_args()
Gst.init(None)

encode = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=500 ! rtph264pay name=pay0 pt=96"
image = f"videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate={arguments.fps}/1"
if arguments.file:
    image = f"filesrc location={arguments.file} ! decodebin ! videoconvert ! videorate"
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(f"( {image} ! {encode} )")
factory.set_shared(True)

server = GstRtspServer.RTSPServer()
server.set_service(arguments.port)
if arguments.auth:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    if arguments.auth == "basic":
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic("ann", "lamp-ostrich"), token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest("ann", "lamp-ostrich", token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
