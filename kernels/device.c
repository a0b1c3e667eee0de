/* device.c - opens a backend by name and keeps its first failure
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The backends fill Ops; nothing here knows what they do with it.
 */
#include "kernels/device.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/ops.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Device *
refuse (DeviceStatus *status, const char *name)
{
  status->code = DEVICE_UNAVAILABLE;
  snprintf (status->message, sizeof status->message,
      "unknown device \"%.40s\": expected \"auto\", \"cpu\", \"cuda\" or "
      "\"cuda:N\"",
      name);
  return NULL;
}

static Device *
open_auto (int n_threads, DeviceStatus *status)
{
  Device *dev = cuda_open (0, n_threads, status);
  if (dev)
    return dev;
  memset (status, 0, sizeof *status);
  return cpu_open (CPU_LEVEL_BEST, n_threads, status);
}

Device *
device_open (const char *name, int n_threads, DeviceStatus *status)
{
  DeviceStatus unused;
  if (!status)
    status = &unused;
  memset (status, 0, sizeof *status);
  if (!strcmp (name, "auto"))
    return open_auto (n_threads, status);
  for (int level = 0; level < CPU_N_LEVELS; level++)
    if (!strncmp (name, "cpu:", 4) &&
        !strcmp (name + 4, cpu_level_name (level)))
      return cpu_open ((CpuLevel) level, n_threads, status);
  if (!strcmp (name, "cpu"))
    return cpu_open (CPU_LEVEL_BEST, n_threads, status);
  if (!strcmp (name, "cuda"))
    return cuda_open (0, n_threads, status);
  if (!strncmp (name, "cuda:", 5)) {
    char *end;
    long index = strtol (name + 5, &end, 10);
    if (end != name + 5 && !*end && index >= 0 && index < 1024)
      return cuda_open ((int) index, n_threads, status);
  }
  return refuse (status, name);
}

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

bool
device_sync (Device *dev, DeviceStatus *status)
{
  dev->op->sync (dev);
  if (status)
    *status = dev->status;
  return dev->status.code == DEVICE_OK;
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
