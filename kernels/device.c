/* device.c - what can be asked of an open device; part of every backend
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/device.h"

#include "kernels/ops.h"

#include <stdarg.h>
#include <stdio.h>

void
device_close (Device *dev)
{
  if (dev)
    dev->op->close (dev);
}

void *
device_alloc (Device *dev, size_t bytes)
{
  return dev->op->alloc (dev, bytes);
}

void
device_free (Device *dev, void *ptr)
{
  if (ptr)
    dev->op->free (dev, ptr);
}

size_t
device_memory_free (Device *dev)
{
  return dev->op->memory_free (dev);
}

void
device_upload (Device *dev, void *dst, const void *src, size_t bytes)
{
  dev->op->upload (dev, dst, src, bytes);
}

void
device_download (Device *dev, void *dst, const void *src, size_t bytes)
{
  dev->op->download (dev, dst, src, bytes);
}

void *
device_host_alloc (Device *dev, size_t bytes)
{
  return dev->op->host_alloc (dev, bytes);
}

void
device_host_free (Device *dev, void *ptr)
{
  if (ptr)
    dev->op->host_free (dev, ptr);
}

void
device_fetch (Device *dev, void *dst, const void *src, size_t bytes)
{
  dev->op->fetch (dev, dst, src, bytes);
}

void
device_mark (Device *dev, int mark)
{
  dev->op->mark (dev, mark);
}

double
device_marked_us (Device *dev, int from, int to)
{
  return dev->op->marked_us (dev, from, to);
}

bool
device_sync (Device *dev, DeviceStatus *status)
{
  dev->op->sync (dev);
  if (status)
    *status = dev->status;
  return dev->status.code == DEVICE_OK;
}

bool
device_replay (Device *dev, const DeviceKey *key)
{
  bool replayed = dev->op->replay (dev, key);
  dev->n_replays += replayed;
  return replayed;
}

void
device_record (Device *dev, const DeviceKey *key)
{
  dev->op->record (dev, key);
}

void
device_recorded (Device *dev, bool all)
{
  dev->op->recorded (dev, all);
}

void
device_forget (Device *dev, const void *owner)
{
  dev->op->forget (dev, owner);
}

void
device_fail (Device *dev, DeviceCode code, const char *format, ...)
{
  if (dev->status.code != DEVICE_OK)
    return;
  va_list args;
  va_start (args, format);
  vsnprintf (dev->status.message, sizeof dev->status.message, format, args);
  va_end (args);
  dev->status.code = code;
}

void
device_fail_memory (Device *dev, size_t needed_bytes, size_t free_bytes)
{
  if (dev->status.code != DEVICE_OK)
    return;
  device_fail (dev, DEVICE_NO_MEMORY, "%s: %zu bytes needed, %zu bytes free",
      dev->name, needed_bytes, free_bytes);
  dev->status.needed_bytes = needed_bytes;
  dev->status.free_bytes = free_bytes;
}
