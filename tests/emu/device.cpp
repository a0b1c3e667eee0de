/* device.cpp - the emulated driver, its devices and errors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tests/emu/emu.h"

#include <map>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <thread>

#define VERSION 13000 /* of driver and runtime */
#define OLD_VERSION 11040

static std::recursive_mutex mutex;
static std::map<std::thread::id, int> devices; /* current, by host thread */
static cudaError_t sticky = cudaSuccess, last = cudaSuccess;

EmuLock::EmuLock ()
{
  mutex.lock ();
}

EmuLock::~EmuLock ()
{
  mutex.unlock ();
}

void
emu_die (const char *format, ...)
{
  va_list args;
  va_start (args, format);
  std::string where = emu_where ();
  fprintf (stderr, "emu: %s%s", where.c_str (), where.empty () ? "" : ": ");
  vfprintf (stderr, format, args);
  fprintf (stderr, "\n");
  va_end (args);
  abort ();
}

long
emu_setting (const char *name, long fallback)
{
  const char *text = getenv (name);
  return text && *text ? strtol (text, NULL, 10) : fallback;
}

static uint64_t state =
    0x9e3779b97f4a7c15u * (uint64_t) (1 + emu_setting ("HIREDVLM_EMU_SEED", 1));

unsigned
emu_random (unsigned bound)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (unsigned) (((state >> 32) * bound) >> 32);
}

static bool
driver_is (const char *what)
{
  const char *driver = getenv ("HIREDVLM_EMU_DRIVER");
  return driver && !strcmp (driver, what);
}

int
emu_n_devices ()
{
  return (int) emu_setting ("HIREDVLM_EMU_DEVICES", 1);
}

int
emu_current_device ()
{
  return devices[std::this_thread::get_id ()];
}

cudaError_t
emu_fail (cudaError_t error)
{
  if (error == cudaErrorLaunchFailure)
    sticky = error;
  last = error;
  return error;
}

cudaError_t
emu_status ()
{
  return sticky;
}

/* ---- the API ---- */

cudaError_t
cudaDriverGetVersion (int *version)
{
  *version = driver_is ("missing") ? 0
             : driver_is ("old")   ? OLD_VERSION
                                   : VERSION;
  return cudaSuccess;
}

cudaError_t
cudaRuntimeGetVersion (int *version)
{
  *version = VERSION;
  return cudaSuccess;
}

cudaError_t
cudaGetDeviceCount (int *count)
{
  EmuLock lock;
  *count = 0;
  if (driver_is ("missing") || driver_is ("old"))
    return emu_fail (cudaErrorInsufficientDriver);
  *count = emu_n_devices ();
  return *count ? cudaSuccess : emu_fail (cudaErrorNoDevice);
}

/* KiB that a block may ask for: technical specifications of the CUDA
 * programming guide. */
static size_t
shared_limit (int major, int minor)
{
  if (major == 7)
    return 64;
  if (major == 8)
    return minor == 6 || minor == 9 ? 99 : 163;
  return major == 12 ? 99 : 227;
}

cudaError_t
cudaGetDeviceProperties (cudaDeviceProp *prop, int device)
{
  EmuLock lock;
  if (device < 0 || device >= emu_n_devices ())
    return emu_fail (cudaErrorInvalidDevice);
  const char *capability = getenv ("HIREDVLM_EMU_CAPABILITY");
  *prop = {};
  snprintf (prop->name, sizeof prop->name, "Emulation");
  prop->major = 9;
  if (capability)
    sscanf (capability, "%d.%d", &prop->major, &prop->minor);
  prop->totalGlobalMem = (size_t) emu_setting ("HIREDVLM_EMU_MEMORY", 2048)
                         << 20;
  prop->sharedMemPerBlockOptin = shared_limit (prop->major, prop->minor) << 10;
  return cudaSuccess;
}

cudaError_t
emu_func_attributes (cudaFuncAttributes *attributes)
{
  cudaDeviceProp prop;
  const char *code = getenv ("HIREDVLM_EMU_CODE");
  cudaGetDeviceProperties (&prop, emu_current_device ());
  attributes->ptxVersion = prop.major * 10 + prop.minor;
  attributes->sharedSizeBytes = 0;
  if (code && atof (code) * 10 > attributes->ptxVersion)
    return emu_fail (cudaErrorNoKernelImageForDevice);
  return emu_status ();
}

void (*emu_device_was_set) (int device);

cudaError_t
cudaSetDevice (int device)
{
  EmuLock lock;
  if (device < 0 || device >= emu_n_devices ())
    return emu_fail (cudaErrorInvalidDevice);
  devices[std::this_thread::get_id ()] = device;
  if (emu_device_was_set)
    emu_device_was_set (device);
  return cudaSuccess;
}

cudaError_t
cudaGetDevice (int *device)
{
  EmuLock lock;
  *device = emu_current_device ();
  return cudaSuccess;
}

cudaError_t
cudaPeekAtLastError ()
{
  EmuLock lock;
  return sticky ? sticky : last;
}

cudaError_t
cudaGetLastError ()
{
  EmuLock lock;
  cudaError_t error = cudaPeekAtLastError ();
  last = cudaSuccess;
  return error;
}

const char *
cudaGetErrorName (cudaError_t error)
{
  switch (error) {
  case cudaSuccess:
    return "cudaSuccess";
  case cudaErrorMemoryAllocation:
    return "cudaErrorMemoryAllocation";
  case cudaErrorInvalidConfiguration:
    return "cudaErrorInvalidConfiguration";
  case cudaErrorLaunchFailure:
    return "cudaErrorLaunchFailure";
  case cudaErrorStreamCaptureUnsupported:
    return "cudaErrorStreamCaptureUnsupported";
  default:
    return "cudaError";
  }
}

const char *
cudaGetErrorString (cudaError_t error)
{
  switch (error) {
  case cudaSuccess:
    return "no error";
  case cudaErrorMemoryAllocation:
    return "out of memory";
  case cudaErrorInvalidConfiguration:
    return "invalid configuration argument";
  case cudaErrorLaunchFailure:
    return "unspecified launch failure";
  case cudaErrorStreamCaptureUnsupported:
    return "operation not permitted when stream is capturing";
  default:
    return "an error of the emulated device";
  }
}
