/* device.cu - a GPU as a device: opening, closing, failures
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_CAPABILITY 75    /* major * 10 + minor */
#define OVERLAP_DRIVER 12030 /* from which on graphs keep early launches */

cudaStream_t
cuda_stream (Device *dev)
{
  Cuda *cuda = cuda_of (dev);
  cudaSetDevice (cuda->index);
  cuda->busy = true;
  return cuda->stream;
}

bool
cuda_wait (Device *dev, const char *what)
{
  bool done = cuda_check (dev, cudaStreamSynchronize (cuda_stream (dev)), what);
  cuda_of (dev)->busy = false;
  dev->n_waits++;
  dev->n_syncs++;
  return done;
}

bool
cuda_check (Device *dev, cudaError_t error, const char *what)
{
  if (error == cudaSuccess)
    return true;
  cudaGetLastError (); /* reported once, not by the next launch again */
  device_fail (dev,
      error == cudaErrorMemoryAllocation ? DEVICE_NO_MEMORY : DEVICE_LOST,
      "%s: %s failed: %s", dev->name, what, cudaGetErrorString (error));
  return false;
}

void
cuda_launched (Device *dev, const char *what)
{
  cuda_check (dev, cudaGetLastError (), what);
}

static void
close_streams (const Cuda *cuda)
{
  if (cuda->computed)
    cudaEventDestroy (cuda->computed);
  if (cuda->uploaded)
    cudaEventDestroy (cuda->uploaded);
  for (int i = 0; i < DEVICE_MARKS; i++)
    if (cuda->marks[i])
      cudaEventDestroy (cuda->marks[i]);
  for (int i = 0; i < MAX_PRODUCTS - 1; i++) {
    if (cuda->joined[i])
      cudaEventDestroy (cuda->joined[i]);
    if (cuda->beside[i])
      cudaStreamDestroy (cuda->beside[i]);
  }
  if (cuda->forked)
    cudaEventDestroy (cuda->forked);
  if (cuda->uploads)
    cudaStreamDestroy (cuda->uploads);
  if (cuda->stream)
    cudaStreamDestroy (cuda->stream);
}

static void
close_device (Device *dev)
{
  CudaVisit visit;
  Cuda *cuda = cuda_of (dev);
  if (cuda->stream)
    cudaStreamSynchronize (cuda_stream (dev));
  cuda_forget_all (dev);
  cuda_blas_close (dev);
  for (int i = 0; i < CUDA_N_STAGES; i++) {
    if (cuda->stages[i].done)
      cudaEventDestroy (cuda->stages[i].done);
    cudaFreeHost (cuda->stages[i].data);
  }
  cudaFreeHost (cuda->answer);
  cudaFree (cuda->scratch);
  close_streams (cuda);
  free (cuda);
  free (dev);
}

/* ---- opening ---- */

static void
fill_ops (Ops *op)
{
  op->close = close_device;
  cuda_init_memory (op);
  cuda_init_recording (op);
  cuda_init_foreign (op);
  cuda_init_mat (op);
  cuda_init_matmul (op);
  cuda_init_norm (op);
  cuda_init_elementwise (op);
  cuda_init_merge (op);
  cuda_init_attention_tiles (op);
  cuda_init_attention_paged (op);
  cuda_init_key_attention (op);
  cuda_init_listed (op);
  cuda_init_listed_choice (op);
  cuda_init_choice (op);
  cuda_init_rope (op);
  cuda_init_sample (op);
  cuda_init_image (op);
  cuda_init_pixels (op);
}

static bool
refuse (DeviceStatus *status, int index, const char *reason)
{
  status->code = DEVICE_UNAVAILABLE;
  snprintf (status->message, sizeof status->message,
      "cuda:%d cannot be opened: %s", index, reason);
  return false;
}

__global__ void
any_kernel ()
{
}

/* Whether the module's code runs on the GPU, which becomes the current one, and
 * for which architecture that was compiled. */
static bool
find_code (
    int index, const cudaDeviceProp *prop, int *arch, DeviceStatus *status)
{
  cudaFuncAttributes code = {};
  char reason[160];
  cudaError_t error = cudaSetDevice (index);
  if (error == cudaSuccess)
    error = cudaFuncGetAttributes (&code, any_kernel);
  cudaGetLastError ();
  *arch = code.ptxVersion * 10;
  if (error == cudaSuccess)
    return true;
  if (error != cudaErrorNoKernelImageForDevice)
    return refuse (status, index, cudaGetErrorString (error));
  snprintf (reason, sizeof reason,
      "the CUDA module has no code for %.60s, whose compute capability is "
      "%d.%d",
      prop->name, prop->major, prop->minor);
  return refuse (status, index, reason);
}

/* Whether there is a GPU of that number that the kernels run on. */
static bool
find_gpu (int index, cudaDeviceProp *prop, DeviceStatus *status)
{
  int driver = 0, runtime = 0, count = 0;
  char reason[160];
  cudaDriverGetVersion (&driver);
  cudaRuntimeGetVersion (&runtime);
  if (driver == 0)
    return refuse (status, index, "there is no NVIDIA driver");
  cudaError_t error = cudaGetDeviceCount (&count);
  cudaGetLastError ();
  if (error == cudaErrorInsufficientDriver) {
    snprintf (reason, sizeof reason,
        "the NVIDIA driver supports CUDA %d.%d, and %d.%d is needed",
        driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    return refuse (status, index, reason);
  }
  if (error != cudaSuccess && error != cudaErrorNoDevice)
    return refuse (status, index, cudaGetErrorString (error));
  if (index >= count) {
    snprintf (reason, sizeof reason, "there %s %d GPU%s",
        count == 1 ? "is" : "are", count, count == 1 ? "" : "s");
    return refuse (status, index, reason);
  }
  error = cudaGetDeviceProperties (prop, index);
  if (error != cudaSuccess)
    return refuse (status, index, cudaGetErrorString (error));
  if (prop->major * 10 + prop->minor >= MIN_CAPABILITY)
    return true;
  snprintf (reason, sizeof reason,
      "%.60s has compute capability %d.%d, and 7.5 is needed", prop->name,
      prop->major, prop->minor);
  return refuse (status, index, reason);
}

static bool
make_stream (Device *dev, cudaStream_t *stream)
{
  return cuda_check (dev,
      cudaStreamCreateWithFlags (stream, cudaStreamNonBlocking),
      "making a stream");
}

static bool
make_event (Device *dev, cudaEvent_t *event, unsigned flags)
{
  return cuda_check (
      dev, cudaEventCreateWithFlags (event, flags), "making an event");
}

static bool
make_stages (Device *dev)
{
  for (int i = 0; i < CUDA_N_STAGES; i++) {
    CudaStage *stage = &cuda_of (dev)->stages[i];
    if (stage->done)
      continue;
    if (!cuda_check (dev,
            cudaHostAlloc (
                (void **) &stage->data, CUDA_STAGE_BYTES, cudaHostAllocDefault),
            "allocating pinned memory") ||
        !make_event (dev, &stage->done, cudaEventDisableTiming))
      return false;
  }
  char **answer = &cuda_of (dev)->answer;
  return *answer || cuda_check (dev,
                        cudaHostAlloc ((void **) answer, CUDA_ANSWER_BYTES,
                            cudaHostAllocDefault),
                        "allocating pinned memory");
}

bool
cuda_settle (Device *dev)
{
  Cuda *cuda = cuda_of (dev);
  cuda->settled = true; /* what follows allocates */
  cuda->settled = make_stages (dev) && cuda_scratch (dev, CUDA_SCRATCH_BYTES) &&
                  cuda_blas_settle (dev);
  return cuda->settled;
}

static bool
make_streams (Device *dev)
{
  Cuda *cuda = cuda_of (dev);
  unsigned quick = cudaEventDisableTiming;
  bool made = make_stream (dev, &cuda->stream) &&
              make_stream (dev, &cuda->uploads) &&
              make_event (dev, &cuda->computed, quick) &&
              make_event (dev, &cuda->uploaded, quick) &&
              make_event (dev, &cuda->forked, quick);
  for (int i = 0; i < DEVICE_MARKS && made; i++)
    made = make_event (dev, &cuda->marks[i], cudaEventDefault);
  for (int i = 0; i < MAX_PRODUCTS - 1 && made; i++)
    made = make_stream (dev, &cuda->beside[i]) &&
           make_event (dev, &cuda->joined[i], quick);
  return made;
}

static bool
start (Device *dev)
{
  Cuda *cuda = cuda_of (dev);
  return cuda_check (dev, cudaSetDevice (cuda->index), "choosing the GPU") &&
         make_streams (dev) && cuda_blas_open (dev);
}

/* HIREDVLM_CUDA_GRAPHS=0 and HIREDVLM_CUDA_OVERLAP=0 are for comparing. */
static bool
is_wanted (const char *variable)
{
  const char *wanted = getenv (variable);
  return !wanted || strcmp (wanted, "0");
}

/* Code for an older GPU that the driver translates does not wait for earlier
 * kernels. */
static bool
can_overlap (const cudaDeviceProp *prop, int arch)
{
  int driver = 0;
  cudaDriverGetVersion (&driver);
  return is_wanted ("HIREDVLM_CUDA_OVERLAP") && driver >= OVERLAP_DRIVER &&
         prop->major * 100 + prop->minor * 10 >= OVERLAP_ARCH &&
         arch >= OVERLAP_ARCH;
}

Device *
hiredvlm_cuda_open (
    const CudaOpen *options, size_t options_bytes, DeviceStatus *status)
{
  CudaVisit visit;
  cudaDeviceProp prop;
  int arch;
  if (options_bytes != sizeof *options ||
      options->device_bytes != sizeof (Device) ||
      options->ops_bytes != sizeof (Ops)) {
    refuse (status, 0, "the CUDA module is of another version");
    return NULL;
  }
  if (!find_gpu (options->index, &prop, status) ||
      !find_code (options->index, &prop, &arch, status))
    return NULL;
  Device *dev = (Device *) calloc (1, sizeof *dev);
  Cuda *cuda = (Cuda *) calloc (1, sizeof *cuda);
  dev->op = &cuda->op;
  dev->backend = cuda;
  dev->gpu = options->index;
  dev->n_threads = options->n_threads > 0 ? options->n_threads : 1;
  dev->act_type = options->full       ? TYPE_F32
                  : arch >= BF16_ARCH ? TYPE_BF16
                                      : TYPE_F16;
  dev->act_bytes = data_type_bytes (dev->act_type);
  dev->has_bf16 = dev->act_type == TYPE_BF16;
  dev->records = is_wanted ("HIREDVLM_CUDA_GRAPHS");
  cuda->index = options->index;
  cuda->overlaps = can_overlap (&prop, arch);
  cuda->block_shared = prop.sharedMemPerBlockOptin;
  snprintf (dev->name, sizeof dev->name, "cuda:%d (%.36s, %s)", cuda->index,
      prop.name, data_type_name (dev->act_type));
  fill_ops (&cuda->op);
  if (start (dev))
    return dev;
  *status = dev->status;
  close_device (dev);
  return NULL;
}
