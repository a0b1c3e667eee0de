/* memory.cu - a GPU's memory, copies to it and back, and waiting
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cuda/common.cuh"

#include <string.h>

#define LITTLE_BYTES ((size_t) 64 << 10)
/* For the driver's own needs, kernels that are not loaded yet and graphs: a
 * part of all memory, and no less than that. */
#define RESERVED_PART 64
#define RESERVED_BYTES ((size_t) 64 << 20)

static size_t
memory_free (Device *dev)
{
  CudaVisit visit;
  size_t room = 0, total = 0;
  cuda_stream (dev);
  cuda_check (dev, cudaMemGetInfo (&room, &total), "asking for free memory");
  size_t part = total / RESERVED_PART;
  size_t reserved = part > RESERVED_BYTES ? part : RESERVED_BYTES;
  if (!cuda_of (dev)->settled)
    reserved += CUDA_SCRATCH_BYTES + MAX_PRODUCTS * CUDA_WORKSPACE_BYTES;
  return room > reserved ? room - reserved : 0;
}

static void *
alloc (Device *dev, size_t bytes)
{
  void *ptr = NULL;
  if (!cuda_of (dev)->settled && !cuda_settle (dev))
    return NULL;
  cuda_stream (dev);
  cudaError_t error = cudaMalloc (&ptr, bytes ? bytes : 1);
  if (error == cudaSuccess)
    return ptr;
  cudaGetLastError (); /* a refusal is not a failure of later launches */
  if (error == cudaErrorMemoryAllocation)
    device_fail_memory (dev, bytes, memory_free (dev));
  else
    cuda_check (dev, error, "allocating memory");
  return NULL;
}

static void
free_memory (Device *dev, void *ptr)
{
  cuda_wait (dev, "a step");
  cuda_check (dev, cudaFree (ptr), "freeing memory");
}

void *
cuda_scratch (Device *dev, size_t bytes)
{
  Cuda *cuda = cuda_of (dev);
  if (bytes <= cuda->scratch_bytes)
    return cuda->scratch;
  cuda_forget_all (dev);
  device_free (dev, cuda->scratch);
  cuda->scratch = alloc (dev, bytes);
  cuda->scratch_bytes = cuda->scratch ? bytes : 0;
  return cuda->scratch;
}

/* The next piece of pinned memory, when its last copy is done. */
static CudaStage *
take_stage (Device *dev)
{
  Cuda *cuda = cuda_of (dev);
  CudaStage *stage = &cuda->stages[cuda->next_stage];
  cuda->next_stage = (cuda->next_stage + 1) % CUDA_N_STAGES;
  if (cudaEventQuery (stage->done) == cudaSuccess)
    return stage;
  cudaGetLastError (); /* not ready is no failure */
  cuda_check (dev, cudaEventSynchronize (stage->done), "an upload");
  dev->n_waits++;
  return stage;
}

/* The stream of uploads, once the ops that may still use what they overwrite
 * are ahead of it. */
static cudaStream_t
begin_upload (Device *dev)
{
  Cuda *cuda = cuda_of (dev);
  bool busy = cuda->busy;
  cudaStream_t stream = cuda_stream (dev);
  if (busy) {
    cuda_check (dev, cudaEventRecord (cuda->computed, stream), "an upload");
    cuda_check (dev, cudaStreamWaitEvent (cuda->uploads, cuda->computed, 0),
        "an upload");
  }
  return cuda->uploads;
}

static void
end_upload (Device *dev)
{
  Cuda *cuda = cuda_of (dev);
  cuda_check (
      dev, cudaEventRecord (cuda->uploaded, cuda->uploads), "an upload");
  cuda_check (
      dev, cudaStreamWaitEvent (cuda->stream, cuda->uploaded, 0), "an upload");
}

/* A graph would copy what the host's memory holds when it is replayed. */
static bool
may_copy (Device *dev, const char *what)
{
  if (!cuda_of (dev)->capturing)
    return true;
  device_fail (dev, DEVICE_LOST, "%s: %s while recording", dev->name, what);
  return false;
}

/* Little goes in the ops' own stream: two that wait for each other take longer
 * than that. */
static void
upload (Device *dev, void *dst, const void *src, size_t bytes)
{
  bool little = bytes <= LITTLE_BYTES;
  if (!may_copy (dev, "an upload"))
    return;
  cudaStream_t stream = little ? cuda_stream (dev) : begin_upload (dev);
  for (size_t done = 0; done < bytes;) {
    CudaStage *stage = take_stage (dev);
    size_t count =
        bytes - done < CUDA_STAGE_BYTES ? bytes - done : CUDA_STAGE_BYTES;
    memcpy (stage->data, (const char *) src + done, count);
    cuda_check (dev,
        cudaMemcpyAsync ((char *) dst + done, stage->data, count,
            cudaMemcpyHostToDevice, stream),
        "an upload");
    cuda_check (dev, cudaEventRecord (stage->done, stream), "an upload");
    done += count;
  }
  if (!little)
    end_upload (dev);
}

/* dst may hold nothing sensible after a failure, so it is cleared first. */
static void
download (Device *dev, void *dst, const void *src, size_t bytes)
{
  if (!bytes)
    return;
  memset (dst, 0, bytes);
  cudaStream_t stream = cuda_stream (dev);
  char *answer = cuda_of (dev)->answer;
  bool is_small = bytes <= CUDA_ANSWER_BYTES;
  if (cuda_check (dev,
          cudaMemcpyAsync (is_small ? answer : dst, src, bytes,
              cudaMemcpyDeviceToHost, stream),
          "a download") &&
      cuda_wait (dev, "a download") && is_small)
    memcpy (dst, answer, bytes);
}

static void *
host_alloc (Device *dev, size_t bytes)
{
  void *ptr = NULL;
  cuda_stream (dev);
  cuda_check (dev,
      cudaHostAlloc (&ptr, bytes ? bytes : 1, cudaHostAllocDefault),
      "allocating pinned memory");
  return ptr;
}

static void
host_free (Device *dev, void *ptr)
{
  cuda_wait (dev, "a step");
  cuda_check (dev, cudaFreeHost (ptr), "freeing pinned memory");
}

static void
fetch (Device *dev, void *dst, const void *src, size_t bytes)
{
  if (bytes && may_copy (dev, "a download"))
    cuda_check (dev,
        cudaMemcpyAsync (
            dst, src, bytes, cudaMemcpyDeviceToHost, cuda_stream (dev)),
        "a download");
}

static void
mark (Device *dev, int i)
{
  cuda_check (dev, cudaEventRecord (cuda_of (dev)->marks[i], cuda_stream (dev)),
      "a mark");
}

static double
marked_us (Device *dev, int from, int to)
{
  const Cuda *cuda = cuda_of (dev);
  float ms = 0;
  cuda_check (dev,
      cudaEventElapsedTime (&ms, cuda->marks[from], cuda->marks[to]), "a mark");
  return ms * 1e3;
}

static void
sync (Device *dev)
{
  cuda_wait (dev, "a step");
}

void
cuda_init_memory (Ops *op)
{
  op->alloc = alloc;
  op->free = free_memory;
  op->memory_free = memory_free;
  op->upload = upload;
  op->download = download;
  op->host_alloc = host_alloc;
  op->host_free = host_free;
  op->fetch = fetch;
  op->mark = mark;
  op->marked_us = marked_us;
  op->sync = sync;
}
