/* tidal.c - TidalDecode: attention by attention, and in the decoder
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every test runs on plain C and on each faster level the processor has.
 */
#include "tests/tidal.h"

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  tidal_add_attention ();
  tidal_add_decoder ();
  return g_test_run ();
}
