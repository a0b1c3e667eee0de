/* plugin.c - the entry point GStreamer looks for
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Touches no device and reads no model: scanning must work anywhere.
 */
#include <glib/gi18n-lib.h>

#include "gst/gsthiredvlm.h"

static gboolean
plugin_init (GstPlugin *plugin)
{
  bindtextdomain (GETTEXT_PACKAGE, HIREDVLM_LOCALEDIR);
  bind_textdomain_codeset (GETTEXT_PACKAGE, "UTF-8");
  return GST_ELEMENT_REGISTER (hiredvlm, plugin);
}

GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, hiredvlm,
    "Captions for video by vision-language models with HiRED token dropping",
    plugin_init, VERSION, "LGPL", "hiredvlm", "Unknown package origin")
