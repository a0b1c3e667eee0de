/* rtsp-server.c - serves captioned video, or takes it, over RTSP
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   example-rtsp-server PORT PATH LINE [PATH LINE]...
 *
 * Each line is a bin in parentheses, as gst-rtsp-server wants it: payloaders
 * named pay0, pay1, ... are served, a line with depay0 takes what a client
 * publishes. Port 0 is any that is free; the address is printed. For instance
 * a camera with captions drawn on it and sent beside it:
 *
 *   example-rtsp-server 8554 /camera '( v4l2src ! videoconvert ! hiredvlm
 *     name=v ! queue ! textoverlay name=o ! videoconvert ! vp8enc deadline=1 !
 *     rtpvp8pay name=pay0  v.text_src ! tee name=t ! queue ! o.text_sink
 *     t. ! queue ! rtpgstpay name=pay1 )'
 */
#include <gst/rtsp-server/rtsp-server.h>
#include <stdio.h>
#include <string.h>

static void
add_factory (GstRTSPServer *server, const char *path, const char *line)
{
  GstRTSPMountPoints *mounts = gst_rtsp_server_get_mount_points (server);
  GstRTSPMediaFactory *factory = gst_rtsp_media_factory_new ();

  gst_rtsp_media_factory_set_launch (factory, line);
  /* One pipeline for all who watch: one description for all. */
  gst_rtsp_media_factory_set_shared (factory, TRUE);
  if (strstr (line, "depay0"))
    gst_rtsp_media_factory_set_transport_mode (
        factory, GST_RTSP_TRANSPORT_MODE_RECORD);
  gst_rtsp_mount_points_add_factory (mounts, path, factory);
  g_object_unref (mounts);
}

int
main (int argc, char **argv)
{
  gst_init (&argc, &argv);
  if (argc < 4 || argc % 2) {
    g_printerr ("usage: %s PORT PATH LINE [PATH LINE]...\n", argv[0]);
    return 2;
  }
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GstRTSPServer) server = gst_rtsp_server_new ();
  gst_rtsp_server_set_address (server, "127.0.0.1");
  gst_rtsp_server_set_service (server, argv[1]);
  for (int i = 2; i < argc; i += 2)
    add_factory (server, argv[i], argv[i + 1]);
  if (gst_rtsp_server_attach (server, NULL) == 0) {
    g_printerr ("Port %s cannot be listened on.\n", argv[1]);
    return 1;
  }
  setvbuf (stdout, NULL, _IOLBF, 0);
  g_print ("rtsp://127.0.0.1:%d\n", gst_rtsp_server_get_bound_port (server));
  g_main_loop_run (loop);
  return 0;
}
