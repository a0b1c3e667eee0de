/* driver.cpp - the driver's calls that gst-cuda and we make, on emulated
 * devices SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gst-cuda loads libcuda.so.1; in the tests that is a link to the module that
 * this is part of, so that both see the same memory. The primary context of a
 * device is the one that the runtime's calls work in; what another one
 * allocates, kernels cannot touch, only copies. Copies happen at once: nobody
 * has submitted work to the default stream.
 */
#include "gst/cuda-types/cuda.h"
#include "gst/cuda-types/cudaGL.h"
#include "tests/emu/emu.h"

#include <map>
#include <stdio.h>
#include <string.h>
#include <thread>

#define DRIVER extern "C" __attribute__ ((visibility ("default"))) CUresult
#define PITCH 512
#define CONTEXT_ATTRIBUTE 1

struct CUctx_st {
  int device;
  bool primary;
  int retained;
};

static std::map<int, CUctx_st> primaries;
static std::map<std::thread::id, std::vector<CUcontext>> stacks;

static CUresult
result_of (cudaError_t error)
{
  return error == cudaSuccess                 ? CUDA_SUCCESS
         : error == cudaErrorMemoryAllocation ? CUDA_ERROR_OUT_OF_MEMORY
                                              : CUDA_ERROR_INVALID_VALUE;
}

/* The runtime has made a device's primary context current. */
static void
make_primary_current (int device)
{
  std::vector<CUcontext> &stack = stacks[std::this_thread::get_id ()];
  primaries[device].device = device;
  primaries[device].primary = true;
  if (stack.empty ())
    stack.push_back (NULL);
  stack.back () = &primaries[device];
}

static const bool hooked = (emu_device_was_set = make_primary_current, true);

/* Current on this thread. */
static CUcontext
current_context ()
{
  std::vector<CUcontext> &stack = stacks[std::this_thread::get_id ()];
  if (stack.empty ())
    emu_die ("the driver was called without a context");
  return stack.back ();
}

DRIVER
cuInit (unsigned)
{
  int count;
  return cudaGetDeviceCount (&count) ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}

DRIVER
cuDriverGetVersion (int *version)
{
  return result_of (cudaDriverGetVersion (version));
}

DRIVER
cuGetErrorName (CUresult, const char **name)
{
  *name = "CUDA_ERROR";
  return CUDA_SUCCESS;
}

DRIVER
cuGetErrorString (CUresult, const char **text)
{
  *text = "an error of the emulated driver";
  return CUDA_SUCCESS;
}

/* ---- devices ---- */

DRIVER
cuDeviceGetCount (int *count)
{
  *count = emu_n_devices ();
  return CUDA_SUCCESS;
}

DRIVER
cuDeviceGet (CUdevice *device, int ordinal)
{
  *device = ordinal;
  return ordinal < emu_n_devices () ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

DRIVER
cuDeviceGetName (char *name, int size, CUdevice device)
{
  cudaDeviceProp prop;
  cudaError_t error = cudaGetDeviceProperties (&prop, device);
  snprintf (name, (size_t) size, "%s", prop.name);
  return result_of (error);
}

DRIVER
cuDeviceGetAttribute (int *value, CUdevice_attribute attribute, CUdevice device)
{
  cudaDeviceProp prop;
  cudaError_t error = cudaGetDeviceProperties (&prop, device);
  *value = attribute == CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT ? PITCH
           : attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
               ? prop.major
               : prop.minor;
  return result_of (error);
}

DRIVER
cuDeviceCanAccessPeer (int *can, CUdevice, CUdevice)
{
  *can = 0;
  return CUDA_SUCCESS;
}

/* ---- contexts ---- */

DRIVER
cuDevicePrimaryCtxRetain (CUcontext *context, CUdevice device)
{
  EmuLock lock;
  CUctx_st &primary = primaries[device];
  primary.device = device;
  primary.primary = true;
  primary.retained++;
  *context = &primary;
  return CUDA_SUCCESS;
}

DRIVER
cuDevicePrimaryCtxRelease_v2 (CUdevice device)
{
  EmuLock lock;
  if (primaries[device].retained-- <= 0)
    emu_die ("a primary context was released more often than retained");
  return CUDA_SUCCESS;
}

DRIVER
cuCtxPushCurrent_v2 (CUcontext context)
{
  EmuLock lock;
  if (context->primary && context->retained <= 0)
    emu_die ("a primary context is used that nobody retains");
  stacks[std::this_thread::get_id ()].push_back (context);
  return CUDA_SUCCESS;
}

DRIVER
cuCtxPopCurrent_v2 (CUcontext *context)
{
  EmuLock lock;
  CUcontext top = current_context ();
  stacks[std::this_thread::get_id ()].pop_back ();
  if (context)
    *context = top;
  return CUDA_SUCCESS;
}

DRIVER
cuCtxGetCurrent (CUcontext *context)
{
  EmuLock lock;
  std::vector<CUcontext> &stack = stacks[std::this_thread::get_id ()];
  *context = stack.empty () ? NULL : stack.back ();
  return hooked ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

DRIVER
cuCtxSetCurrent (CUcontext context)
{
  EmuLock lock;
  std::vector<CUcontext> &stack = stacks[std::this_thread::get_id ()];
  if (!stack.empty ())
    stack.pop_back ();
  if (context)
    stack.push_back (context);
  return CUDA_SUCCESS;
}

DRIVER
cuCtxCreate_v2 (CUcontext *context, unsigned, CUdevice device)
{
  *context = new CUctx_st{ device, false, 0 };
  return cuCtxPushCurrent_v2 (*context);
}

DRIVER
cuCtxDestroy_v2 (CUcontext context)
{
  delete context;
  return CUDA_SUCCESS;
}

/* ---- memory ---- */

DRIVER
cuMemAllocPitch_v2 (CUdeviceptr *ptr, size_t *pitch, size_t width_bytes,
    size_t height, unsigned)
{
  EmuLock lock;
  CUcontext context = current_context ();
  void *memory = NULL;
  *pitch = (width_bytes + PITCH - 1) / PITCH * PITCH;
  cudaError_t error = emu_allocate_in (context->primary ? NULL : context,
      context->device, &memory, *pitch * height);
  *ptr = (CUdeviceptr) memory;
  return result_of (error);
}

static CUcontext
owner_of (CUdeviceptr ptr)
{
  const void *context = NULL;
  int device = emu_owner ((const void *) ptr, &context);
  if (device < 0)
    return NULL;
  return context ? (CUcontext) context : &primaries[device];
}

DRIVER
cuPointerGetAttribute (void *value, int attribute, CUdeviceptr ptr)
{
  EmuLock lock;
  CUcontext owner = owner_of (ptr);
  if (attribute != CONTEXT_ATTRIBUTE || !owner)
    return CUDA_ERROR_INVALID_VALUE;
  *(CUcontext *) value = owner;
  return CUDA_SUCCESS;
}

DRIVER
cuMemcpyPeerAsync (CUdeviceptr dst, CUcontext dst_context, CUdeviceptr src,
    CUcontext src_context, size_t bytes, CUstream stream)
{
  EmuLock lock;
  if (owner_of (dst) != dst_context || owner_of (src) != src_context)
    emu_die ("cuMemcpyPeerAsync: the memory is not of these contexts");
  return result_of (emu_copy ((void *) dst, (const void *) src, bytes,
      cudaMemcpyDeviceToDevice, stream));
}

DRIVER
cuMemAlloc_v2 (CUdeviceptr *ptr, size_t bytes)
{
  size_t pitch;
  return cuMemAllocPitch_v2 (ptr, &pitch, bytes, 1, 4);
}

DRIVER
cuMemFree_v2 (CUdeviceptr ptr)
{
  EmuLock lock;
  current_context ();
  return result_of (cudaFree ((void *) ptr));
}

DRIVER
cuMemAllocHost_v2 (void **ptr, size_t bytes)
{
  return result_of (cudaHostAlloc (ptr, bytes, cudaHostAllocDefault));
}

DRIVER
cuMemFreeHost (void *ptr)
{
  return result_of (cudaFreeHost (ptr));
}

/* One side of a copy, its first byte. */
static char *
side (CUmemorytype type, const void *host, CUdeviceptr device, size_t row,
    size_t pitch, size_t column, size_t bytes)
{
  char *start = type == CU_MEMORYTYPE_DEVICE ? (char *) device : (char *) host;
  start += row * pitch + column;
  if (type == CU_MEMORYTYPE_DEVICE)
    emu_check_range (start, bytes, false, "cuMemcpy2D");
  return start;
}

DRIVER
cuMemcpy2D_v2 (const CUDA_MEMCPY2D *c)
{
  EmuLock lock;
  current_context ();
  if (!c->Height)
    return CUDA_SUCCESS;
  char *src =
      side (c->srcMemoryType, c->srcHost, c->srcDevice, c->srcY, c->srcPitch,
          c->srcXInBytes, (c->Height - 1) * c->srcPitch + c->WidthInBytes);
  char *dst =
      side (c->dstMemoryType, c->dstHost, c->dstDevice, c->dstY, c->dstPitch,
          c->dstXInBytes, (c->Height - 1) * c->dstPitch + c->WidthInBytes);
  emu_open_memory (true);
  emu_open_foreign (src, true);
  emu_open_foreign (dst, true);
  for (size_t i = 0; i < c->Height; i++)
    memcpy (dst + i * c->dstPitch, src + i * c->srcPitch, c->WidthInBytes);
  emu_open_foreign (src, false);
  emu_open_foreign (dst, false);
  emu_open_memory (false);
  return CUDA_SUCCESS;
}

DRIVER
cuMemcpy2DAsync_v2 (const CUDA_MEMCPY2D *copy, CUstream)
{
  return cuMemcpy2D_v2 (copy);
}

/* ---- what gst-cuda must find and nobody here calls ---- */

#define NOT_SUPPORTED(name)                                                    \
  DRIVER name ()                                                               \
  {                                                                            \
    return CUDA_ERROR_NOT_SUPPORTED;                                           \
  }

NOT_SUPPORTED (cuCtxEnablePeerAccess)
NOT_SUPPORTED (cuCtxDisablePeerAccess)
NOT_SUPPORTED (cuStreamCreate)
NOT_SUPPORTED (cuStreamDestroy)
NOT_SUPPORTED (cuStreamSynchronize)
NOT_SUPPORTED (cuModuleLoadData)
NOT_SUPPORTED (cuModuleUnload)
NOT_SUPPORTED (cuModuleGetFunction)
NOT_SUPPORTED (cuTexObjectCreate)
NOT_SUPPORTED (cuTexObjectDestroy)
NOT_SUPPORTED (cuLaunchKernel)
NOT_SUPPORTED (cuGraphicsMapResources)
NOT_SUPPORTED (cuGraphicsUnmapResources)
NOT_SUPPORTED (cuGraphicsResourceSetMapFlags_v2)
NOT_SUPPORTED (cuGraphicsSubResourceGetMappedArray)
NOT_SUPPORTED (cuGraphicsResourceGetMappedPointer_v2)
NOT_SUPPORTED (cuGraphicsUnregisterResource)
NOT_SUPPORTED (cuGraphicsGLRegisterImage)
NOT_SUPPORTED (cuGraphicsGLRegisterBuffer)
NOT_SUPPORTED (cuGLGetDevices_v2)
