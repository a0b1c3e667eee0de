/* folder.h - tiny checkpoint folders that a test writes and removes
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A new temporary folder, owned; folder_remove deletes it and its files. */
char *folder_new (void);
void folder_remove (char *folder);

void folder_write (
    const char *folder, const char *file, const void *bytes, gssize length);

/* A safetensors file in the making: zeros of given names and shapes. */
typedef struct {
  GString *header; /* what stands between the braces */
  gsize bytes;     /* of data */
} TensorFile;

void tensor_file_init (TensorFile *file);
void tensor_file_clear (TensorFile *file);

/* element_bytes: of one number of that dtype. cols 0: one dimension. */
void tensor_file_add (TensorFile *file, const char *name, const char *dtype,
    int element_bytes, int rows, int cols);

/* Any shape: "[2,3]" and its bytes. */
void tensor_file_add_shape (TensorFile *file, const char *name,
    const char *dtype, const char *shape, gsize bytes);

/* The whole file, owned. */
GByteArray *tensor_file_bytes (const TensorFile *file);
void tensor_file_write (
    const TensorFile *file, const char *folder, const char *name);

/* A safetensors file of that header and `data` zeros. */
GByteArray *raw_tensor_file (const char *header, gsize data);

G_END_DECLS
