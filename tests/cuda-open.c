/* cuda-open.c - opening the CUDA backend where something is missing
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Over the emulation, which plays drivers and devices; see tests/emu/emu.h.
 */
#include <dlfcn.h>
#include <glib.h>
#include <string.h>

#include "kernels/ops.h"

#define ROWS 3
#define WIDTH 8

/* The environment of one case is gone after it. */
static Device *
open_with (const char *variable, const char *value, const char *name,
    DeviceStatus *status)
{
  g_autofree char *before = g_strdup (g_getenv (variable));
  Device *dev;

  g_setenv (variable, value, TRUE);
  dev = device_open (name, 1, status);
  if (before)
    g_setenv (variable, before, TRUE);
  else
    g_unsetenv (variable);
  return dev;
}

/* "cuda" says why not, "auto" takes the processor. */
static void
expect_refusal (const char *variable, const char *value, const char *name,
    DeviceCode code, const char *reason)
{
  DeviceStatus status;
  Device *dev = open_with (variable, value, name, &status);

  g_assert_null (dev);
  g_test_message ("%s=%s: %s", variable, value, status.message);
  g_assert_cmpint (status.code, ==, code);
  g_assert_nonnull (strstr (status.message, reason));
  dev = open_with (variable, value, "auto", &status);
  g_assert_nonnull (dev);
  if (!strcmp (name, "cuda"))
    g_assert_true (g_str_has_prefix (dev->name, "cpu"));
  device_close (dev);
}

static void
test_refused (void)
{
  expect_refusal ("HIREDVLM_CUDA_MODULE", "/nowhere/cuda.so", "cuda",
      DEVICE_UNAVAILABLE, "not installed");
  expect_refusal ("HIREDVLM_EMU_DRIVER", "missing", "cuda", DEVICE_UNAVAILABLE,
      "there is no NVIDIA driver");
  expect_refusal ("HIREDVLM_EMU_DRIVER", "old", "cuda", DEVICE_UNAVAILABLE,
      "supports CUDA 11.4");
  expect_refusal ("HIREDVLM_EMU_DEVICES", "0", "cuda", DEVICE_UNAVAILABLE,
      "there are 0 GPUs");
  expect_refusal ("HIREDVLM_EMU_DEVICES", "2", "cuda:2", DEVICE_UNAVAILABLE,
      "there are 2 GPUs");
  expect_refusal ("HIREDVLM_EMU_CAPABILITY", "6.1", "cuda", DEVICE_UNAVAILABLE,
      "compute capability 6.1");
  expect_refusal ("HIREDVLM_EMU_CODE", "10.0", "cuda", DEVICE_UNAVAILABLE,
      "has no code for Emulation, whose compute capability is 9.0");
}

/* What a device takes for itself it takes with the first allocation. */
static void
test_small (void)
{
  DeviceStatus status;
  Device *dev;

  g_setenv ("HIREDVLM_EMU_MEMORY", "8", TRUE);
  dev = device_open ("cuda", 1, &status);
  g_assert_nonnull (dev);
  g_assert_cmpuint (device_memory_free (dev), ==, 0);
  g_assert_null (device_alloc (dev, 1));
  g_assert_cmpint (dev->status.code, ==, DEVICE_NO_MEMORY);
  g_assert_nonnull (strstr (dev->status.message, "bytes needed"));
  device_close (dev);
  g_unsetenv ("HIREDVLM_EMU_MEMORY");
}

typedef int (*GetCurrent) (void **context);
typedef int (*Create) (void **context, unsigned flags, int device);
typedef int (*Destroy) (void *context);
typedef int (*Pop) (void **context);

static void
expect_current (GetCurrent get, void *context)
{
  void *found;

  g_assert_cmpint (get (&found), ==, 0);
  g_assert_true (found == context);
}

static void
check_calls (GetCurrent get, void *context)
{
  DeviceStatus status;
  Device *dev = device_open ("cuda", 1, &status);

  expect_current (get, context);
  g_assert_cmpuint (device_memory_free (dev), >, 0);
  expect_current (get, context);
  device_close (dev);
  expect_current (get, context);
}

/* What an application's thread may call leaves it the context it has. */
static void
test_contexts (void)
{
  void *library = dlopen ("libcuda.so.1", RTLD_LAZY), *before, *own;

  g_assert_nonnull (library);
  GetCurrent get = (GetCurrent) dlsym (library, "cuCtxGetCurrent");
  Create create = (Create) dlsym (library, "cuCtxCreate_v2");
  Destroy destroy = (Destroy) dlsym (library, "cuCtxDestroy_v2");
  Pop pop = (Pop) dlsym (library, "cuCtxPopCurrent_v2");
  g_assert_cmpint (get (&before), ==, 0);
  check_calls (get, before);
  g_assert_cmpint (create (&own, 0, 0), ==, 0);
  check_calls (get, own);
  g_assert_cmpint (pop (NULL), ==, 0);
  g_assert_cmpint (destroy (own), ==, 0);
  expect_current (get, before);
  dlclose (library);
}

static void
expect_type (const char *capability, const char *name, DataType type)
{
  DeviceStatus status;
  Device *dev =
      open_with ("HIREDVLM_EMU_CAPABILITY", capability, name, &status);

  g_assert_nonnull (dev);
  g_assert_cmpint (dev->act_type, ==, type);
  g_assert_cmpuint (dev->act_bytes, ==, data_type_bytes (type));
  g_assert_cmpint (dev->has_bf16, ==, type == TYPE_BF16);
  device_close (dev);
}

static void
test_types (void)
{
  expect_type ("9.0", "auto", TYPE_BF16);
  expect_type ("8.0", "cuda:0", TYPE_BF16);
  expect_type ("7.5", "cuda", TYPE_F16);
  expect_type ("7.5", "cuda:f32", TYPE_F32);
  expect_type ("9.0", "cuda:0:f32", TYPE_F32);
  expect_type ("9.0", "auto:f32", TYPE_F32);
  g_assert_null (device_open ("cuda:x", 1, NULL));
  g_assert_null (device_open ("cuda:0:f64", 1, NULL));
  g_assert_null (device_open ("cuda:00000000000000000000000000000000000000000"
                              "00000000000000000000000000000000000000000",
      1, NULL));
}

/* Each op goes to its own device's stream. */
static void
test_two_devices (void)
{
  DeviceStatus status;
  Device *dev[2];

  g_setenv ("HIREDVLM_EMU_DEVICES", "2", TRUE);
  dev[0] = device_open ("cuda:0", 1, &status);
  dev[1] = device_open ("cuda:1", 1, &status);
  for (int i = 0; i < 2; i++) {
    int word = 40 + i, found = 0;
    int *copy = device_alloc (dev[i], sizeof word);

    device_upload (dev[i], copy, &word, sizeof word);
    device_download (dev[i], &found, copy, sizeof found);
    g_assert_cmpint (found, ==, word);
    device_free (dev[i], copy);
    g_assert_true (device_sync (dev[i], &status));
  }
  device_close (dev[0]);
  device_close (dev[1]);
  g_unsetenv ("HIREDVLM_EMU_DEVICES");
}

/* A device that goes away says so, and may be closed; for the process it stays
 * lost. */
static void
test_lost (void)
{
  DeviceStatus status;
  Device *dev;
  Act *y;
  float *x;

  if (!g_test_subprocess ()) {
    g_setenv ("HIREDVLM_EMU_LOSE_AFTER", "2", TRUE);
    g_test_trap_subprocess (NULL, 0, 0);
    g_test_trap_assert_passed ();
    return;
  }
  dev = device_open ("cuda", 1, &status);
  x = device_alloc (dev, ROWS * WIDTH * sizeof *x);
  y = device_alloc (dev, ROWS * WIDTH * dev->act_bytes);
  for (int i = 0; i < 4; i++)
    dev->op->swiglu (dev, y, x, x, ROWS * WIDTH);
  g_assert_false (device_sync (dev, &status));
  g_assert_cmpint (status.code, ==, DEVICE_LOST);
  device_free (dev, x);
  device_free (dev, y);
  device_close (dev);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cuda/refused", test_refused);
  g_test_add_func ("/cuda/contexts", test_contexts);
  g_test_add_func ("/cuda/small", test_small);
  g_test_add_func ("/cuda/types", test_types);
  g_test_add_func ("/cuda/two-devices", test_two_devices);
  g_test_add_func ("/cuda/lost", test_lost);
  return g_test_run ();
}
