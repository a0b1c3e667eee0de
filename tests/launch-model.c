/* launch-model.c - writes a tiny random model for the launch tests
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/tiny-model.h"

int
main (int argc, char **argv)
{
  if (argc != 2)
    return 2;
  g_mkdir_with_parents (argv[1], 0755);
  tiny_model_write (argv[1], NULL);
  return 0;
}
