/* fuzz-driver.c - runs a fuzz target over files, where libFuzzer is not
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *   fuzz-NAME PATH...     each file, and each file of each folder, once
 *
 * A target is one function, LLVMFuzzerTestOneInput, in tests/fuzz-NAME.c. With
 * -Dfuzz=true (clang) libFuzzer calls it with inputs of its own making;
 * otherwise this main makes it a test over tests/corpus/NAME. Inputs that once
 * broke something stay in that folder.
 */
#include <glib.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static int
run_file (const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *text = NULL;
  gsize length;
  if (!g_file_get_contents (path, &text, &length, &error))
    g_error ("%s", error->message);
  /* An exact copy: a sanitizer sees each step past its end. */
  g_autofree uint8_t *data = g_memdup2 (text, length);
  LLVMFuzzerTestOneInput (data, length);
  return 1;
}

static int
run_path (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;
  int n = 0;
  if (!dir)
    return run_file (path);
  while ((name = g_dir_read_name (dir))) {
    g_autofree char *file = g_build_filename (path, name, NULL);
    n += run_file (file);
  }
  return n;
}

int
main (int argc, char **argv)
{
  int n = 0;
  for (int i = 1; i < argc; i++)
    n += run_path (argv[i]);
  g_print ("%d inputs\n", n);
  return n > 0 ? 0 : 1;
}
