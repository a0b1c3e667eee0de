/* scratch.c - working memory of a network, and a device's failure
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "engine/scratch.h"

#include "engine/error.h"

#define ALIGNMENT 64

gpointer
vlm_arena_take (VlmArena *arena, gsize count, gsize size)
{
  gsize start = arena->used;
  gsize bytes = count * size;

  arena->used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return arena->base ? arena->base + start : NULL;
}

gboolean
vlm_arena_allocate (
    VlmArena *arena, Device *dev, const char *what, GError **error)
{
  gsize bytes = MAX (arena->used, ALIGNMENT), available;

  arena->base = device_alloc (dev, bytes);
  arena->used = 0;
  if (arena->base)
    return TRUE;
  available = device_memory_free (dev);
  return vlm_fail (error, VLM_ERROR_NO_MEMORY,
      VLM_ABOUT (.needed_bytes = bytes, .free_bytes = available),
      "The working memory of the %s does not fit on %s: %zu bytes are needed "
      "and %zu are free.",
      vlm_text (what), dev->name, bytes, available);
}

static VlmError
error_of_code (DeviceCode code)
{
  switch (code) {
  case DEVICE_UNAVAILABLE:
    return VLM_ERROR_DEVICE;
  case DEVICE_NO_MEMORY:
    return VLM_ERROR_NO_MEMORY;
  default:
    return VLM_ERROR_LOST;
  }
}

gboolean
vlm_device_status (const Device *dev, GError **error)
{
  const DeviceStatus *status = &dev->status;

  if (status->code == DEVICE_OK)
    return TRUE;
  return vlm_fail (error, error_of_code (status->code),
      VLM_ABOUT (.needed_bytes = status->needed_bytes,
          .free_bytes = status->free_bytes),
      "%s", status->message);
}

gboolean
vlm_device_check (Device *dev, GError **error)
{
  device_sync (dev, NULL);
  return vlm_device_status (dev, error);
}

void
vlm_copy_rows (Device *dev, void *dst, const void *src, int n, gsize bytes)
{
  dev->op->copy_columns (dev, dst, src, n, bytes, bytes, 0);
}
