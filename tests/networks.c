/* networks.c - encoder, projector, decoder and sampler on random weights
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every test runs on plain C and on each faster level the processor has.
 */
#include "tests/networks.h"

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  networks_add_vision ();
  networks_add_choice ();
  networks_add_projector ();
  networks_add_decoder ();
  networks_add_sampler ();
  return g_test_run ();
}
