/* open.c - opens a backend by name
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The backends fill Ops; nothing here knows what they do with it.
 */
#include "kernels/device.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/ops.h"

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
  Device *dev = cuda_open (0, false, n_threads, status);
  if (dev)
    return dev;
  memset (status, 0, sizeof *status);
  return cpu_open (CPU_LEVEL_BEST, n_threads, status);
}

/* "cuda", "cuda:N", "cuda:f32" or "cuda:N:f32". */
static bool
parse_cuda (const char *name, int *index, bool *full)
{
  char *end;
  if (strncmp (name, "cuda", 4))
    return false;
  name += 4;
  *index = 0;
  if (name[0] == ':' && name[1] >= '0' && name[1] <= '9') {
    long number = strtol (name + 1, &end, 10);
    if (number > 1023)
      return false;
    *index = (int) number;
    name = end;
  }
  *full = !strcmp (name, ":f32");
  return *full || !*name;
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
  int index;
  bool full;
  if (parse_cuda (name, &index, &full))
    return cuda_open (index, full, n_threads, status);
  return refuse (status, name);
}
