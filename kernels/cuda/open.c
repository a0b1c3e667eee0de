/* open.c - finds and loads the CUDA module
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Once loaded it stays: the driver keeps threads that would outlive it.
 */
#define _GNU_SOURCE /* dladdr */
#include "kernels/cuda/cuda.h"

#include "kernels/cuda/module.h"
#include "kernels/ops.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE "libhiredvlm-cuda.so"
#define MAX_PATH 4096

/* Build folders keep the plugin and the module in different places. */
static const char *const beside[] = { "", "../kernels/", "../../kernels/" };

static Device *
refuse (DeviceStatus *status, const char *reason)
{
  status->code = DEVICE_UNAVAILABLE;
  snprintf (status->message, sizeof status->message,
      "cuda cannot be opened: %.200s", reason);
  return NULL;
}

/* The path of a module that exists, or false. */
static bool
find_module (char path[MAX_PATH])
{
  const char *named = getenv ("HIREDVLM_CUDA_MODULE");
  Dl_info here;
  if (named && *named) {
    snprintf (path, MAX_PATH, "%s", named);
    return access (path, R_OK) == 0;
  }
  if (dladdr ((void *) find_module, &here) && strchr (here.dli_fname, '/'))
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
      int folder = (int) (strrchr (here.dli_fname, '/') + 1 - here.dli_fname);
      snprintf (
          path, MAX_PATH, "%.*s%s" MODULE, folder, here.dli_fname, beside[i]);
      if (access (path, R_OK) == 0)
        return true;
    }
  snprintf (path, MAX_PATH, "%s/" MODULE, HIREDVLM_MODULE_DIR);
  return access (path, R_OK) == 0;
}

Device *
cuda_open (int index, bool full, int n_threads, DeviceStatus *status)
{
  CudaOpen options = { sizeof (Device), sizeof (Ops), index, n_threads, full };
  char path[MAX_PATH];
  if (!find_module (path))
    return refuse (status,
        "the CUDA module (" MODULE ") is not installed; use device \"cpu\"");
  void *module = dlopen (path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!module)
    return refuse (status, dlerror ());
  CudaModuleOpen open;
  void *symbol = dlsym (module, CUDA_MODULE_OPEN);
  memcpy (&open, &symbol, sizeof open);
  Device *dev = symbol ? open (&options, sizeof options, status)
                       : refuse (status, "the module " MODULE " is broken");
  dlclose (module);
  return dev;
}
