/* cuda_runtime_api.h - the calls of CUDA's runtime that this project makes
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Stands in for CUDA's header of this name in the emulation; names and
 * meanings are those of the CUDA Runtime API reference.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorStreamCaptureUnjoined = 904,
};

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault,
};

enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
};

enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed,
};

enum { cudaStreamNonBlocking = 1 };
enum { cudaEventDefault = 0, cudaEventDisableTiming = 2 };
enum { cudaHostAllocDefault = 0 };

typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;
typedef struct CUgraph_st *cudaGraph_t;
typedef struct CUgraphExec_st *cudaGraphExec_t;

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  size_t sharedMemPerBlockOptin;
  int major, minor;
};

cudaError_t cudaDriverGetVersion (int *version);
cudaError_t cudaRuntimeGetVersion (int *version);
cudaError_t cudaGetDeviceCount (int *count);
cudaError_t cudaGetDeviceProperties (cudaDeviceProp *prop, int device);
cudaError_t cudaSetDevice (int device);
cudaError_t cudaGetDevice (int *device);
cudaError_t cudaDeviceSynchronize ();
cudaError_t cudaGetLastError ();
cudaError_t cudaPeekAtLastError ();
const char *cudaGetErrorName (cudaError_t error);
const char *cudaGetErrorString (cudaError_t error);

cudaError_t cudaMalloc (void **ptr, size_t bytes);
cudaError_t cudaFree (void *ptr);
cudaError_t cudaHostAlloc (void **ptr, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost (void *ptr);
cudaError_t cudaMemGetInfo (size_t *free_bytes, size_t *total);
cudaError_t cudaMemcpyAsync (void *dst, const void *src, size_t bytes,
    cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync (
    void *dst, int value, size_t bytes, cudaStream_t stream);

cudaError_t cudaStreamCreateWithFlags (cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy (cudaStream_t stream);
cudaError_t cudaStreamSynchronize (cudaStream_t stream);
cudaError_t cudaStreamWaitEvent (
    cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags (cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy (cudaEvent_t event);
cudaError_t cudaEventRecord (cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize (cudaEvent_t event);
cudaError_t cudaEventQuery (cudaEvent_t event);
cudaError_t cudaEventElapsedTime (
    float *ms, cudaEvent_t start, cudaEvent_t end);

cudaError_t cudaStreamBeginCapture (
    cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture (cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphDestroy (cudaGraph_t graph);
cudaError_t cudaGraphInstantiate (
    cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphExecDestroy (cudaGraphExec_t exec);
cudaError_t cudaGraphLaunch (cudaGraphExec_t exec, cudaStream_t stream);

struct cudaFuncAttributes {
  int ptxVersion; /* of what a kernel was compiled for: major * 10 + minor */
  size_t sharedSizeBytes; /* of static arrays, which are not known: 0 */
};

cudaError_t emu_func_attributes (cudaFuncAttributes *attributes);

template <typename F>
static inline cudaError_t
cudaFuncGetAttributes (cudaFuncAttributes *attributes, F *)
{
  return emu_func_attributes (attributes);
}

cudaError_t emu_func_set_attribute (
    const void *func, cudaFuncAttribute attribute, int value);

template <typename F>
static inline cudaError_t
cudaFuncSetAttribute (F *func, cudaFuncAttribute attribute, int value)
{
  return emu_func_set_attribute ((const void *) func, attribute, value);
}
