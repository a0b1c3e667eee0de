/* folder.c - tiny checkpoint folders that a test writes and removes
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/folder.h"

#include <glib/gstdio.h>
#include <string.h>

char *
folder_new (void)
{
  g_autoptr (GError) error = NULL;
  char *folder = g_dir_make_tmp ("hiredvlm-XXXXXX", &error);

  g_assert_no_error (error);
  return folder;
}

void
folder_remove (char *folder)
{
  GDir *dir = g_dir_open (folder, 0, NULL);
  const char *name;

  while (dir && (name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (folder, name, NULL);

    g_remove (path);
  }
  if (dir)
    g_dir_close (dir);
  g_rmdir (folder);
  g_free (folder);
}

void
folder_write (
    const char *folder, const char *file, const void *bytes, gssize length)
{
  g_autofree char *path = g_build_filename (folder, file, NULL);
  g_autoptr (GError) error = NULL;

  g_file_set_contents (path, bytes, length, &error);
  g_assert_no_error (error);
}

void
tensor_file_init (TensorFile *file)
{
  file->header = g_string_new (NULL);
  file->bytes = 0;
}

void
tensor_file_clear (TensorFile *file)
{
  g_string_free (file->header, TRUE);
}

void
tensor_file_add_shape (TensorFile *file, const char *name, const char *dtype,
    const char *shape, gsize bytes)
{
  g_string_append_printf (file->header,
      "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":"
      "[%" G_GSIZE_FORMAT ",%" G_GSIZE_FORMAT "]}",
      file->header->len ? "," : "", name, dtype, shape, file->bytes,
      file->bytes + bytes);
  file->bytes += bytes;
}

void
tensor_file_add (TensorFile *file, const char *name, const char *dtype,
    int element_bytes, int rows, int cols)
{
  g_autofree char *shape = cols ? g_strdup_printf ("[%d,%d]", rows, cols)
                                : g_strdup_printf ("[%d]", rows);

  tensor_file_add_shape (file, name, dtype, shape,
      (gsize) rows * (gsize) MAX (cols, 1) * (gsize) element_bytes);
}

GByteArray *
raw_tensor_file (const char *header, gsize data)
{
  GByteArray *bytes = g_byte_array_new ();
  guint64 length = GUINT64_TO_LE ((guint64) strlen (header));
  gsize start = 8 + strlen (header);

  g_byte_array_append (bytes, (const guint8 *) &length, 8);
  g_byte_array_append (bytes, (const guint8 *) header, (guint) strlen (header));
  g_byte_array_set_size (bytes, (guint) (start + data));
  memset (bytes->data + start, 0, data);
  return bytes;
}

GByteArray *
tensor_file_bytes (const TensorFile *file)
{
  g_autofree char *header = g_strdup_printf ("{%s}", file->header->str);

  return raw_tensor_file (header, file->bytes);
}

void
tensor_file_write (const TensorFile *file, const char *folder, const char *name)
{
  g_autoptr (GByteArray) bytes = tensor_file_bytes (file);

  folder_write (folder, name, bytes->data, bytes->len);
}
