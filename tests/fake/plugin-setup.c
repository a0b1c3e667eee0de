/* plugin-setup.c - the plugin over the fake engine, for gst-launch-1.0
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A description takes as many seconds as FAKE_SECONDS says, and says "fake".
 */
#include "tests/fake-engine.h"

static void __attribute__ ((constructor)) setup (void)
{
  const char *seconds = g_getenv ("FAKE_SECONDS");
  FakeConfig config;

  fake_engine_config_init (&config);
  config.text = "fake";
  if (seconds)
    config.encode_us =
        (gint64) (g_ascii_strtod (seconds, NULL) * G_USEC_PER_SEC);
  fake_engine_configure (&config);
}
