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

#define MAX_NAME 64 /* longer ones are unknown */

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
open_auto (bool full, int n_threads, DeviceStatus *status)
{
  Device *dev = cuda_open (0, full, n_threads, status);
  if (dev)
    return dev;
  memset (status, 0, sizeof *status);
  return cpu_open (CPU_LEVEL_BEST, n_threads, status);
}

/* Cuts ":f32" off the name, if that is its end. */
static bool
take_full (char *name)
{
  char *end = strrchr (name, ':');
  if (!end || strcmp (end, ":f32"))
    return false;
  *end = '\0';
  return true;
}

/* "cuda" or "cuda:N" */
static bool
parse_cuda (const char *name, int *index)
{
  char *end = (char *) name + 4;
  if (strncmp (name, "cuda", 4))
    return false;
  *index = 0;
  if (name[4] == ':' && name[5] >= '0' && name[5] <= '9') {
    long number = strtol (name + 5, &end, 10);
    if (number > 1023)
      return false;
    *index = (int) number;
  }
  return !*end;
}

Device *
device_open (const char *wanted, int n_threads, DeviceStatus *status)
{
  DeviceStatus unused;
  char name[MAX_NAME];
  if (!status)
    status = &unused;
  memset (status, 0, sizeof *status);
  if (strlen (wanted) >= sizeof name)
    return refuse (status, wanted);
  strcpy (name, wanted);
  bool full = take_full (name);
  if (!strcmp (name, "auto"))
    return open_auto (full, n_threads, status);
  for (int level = 0; level < CPU_N_LEVELS; level++)
    if (!strncmp (name, "cpu:", 4) &&
        !strcmp (name + 4, cpu_level_name (level)))
      return cpu_open ((CpuLevel) level, n_threads, status);
  if (!strcmp (name, "cpu"))
    return cpu_open (CPU_LEVEL_BEST, n_threads, status);
  int index;
  if (parse_cuda (name, &index))
    return cuda_open (index, full, n_threads, status);
  return refuse (status, name);
}
