/* scratch.h - working memory of a network, and a device's failure as a GError
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A network lays out its working memory once, by a function that takes piece
 * after piece from an arena. Run over an empty arena, the same function
 * measures; run over memory of that size, it hands out the pieces.
 */
#pragma once

#include <glib.h>
#include "kernels/ops.h"

G_BEGIN_DECLS

/* Zero is an arena that measures. */
typedef struct {
  char *base; /* device memory of `used` bytes when measured, or NULL */
  gsize used;
} VlmArena;

/* The next `count` elements of `size` bytes, aligned to 64; NULL while
 * measuring. */
gpointer vlm_arena_take (VlmArena *arena, gsize count, gsize size);

/* Allocates arena->used bytes on the device and starts over to hand them
 * out. FALSE with VLM_ERROR_NO_MEMORY, naming needed and free bytes and
 * `what`. Release base with device_free. */
gboolean vlm_arena_allocate (
    VlmArena *arena, Device *dev, const char *what, GError **error);

/* Waits for the device and reports its first failure, if there is one. */
gboolean vlm_device_check (Device *dev, GError **error);

/* The same without waiting: what has been noticed so far. */
gboolean vlm_device_status (const Device *dev, GError **error);

/* Runs the ops' copy: n rows of `bytes` from src to dst, apart. */
void vlm_copy_rows (
    Device *dev, void *dst, const void *src, int n, gsize bytes);

G_END_DECLS
