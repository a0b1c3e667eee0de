/* mistakes.cu - kernels and launches with a mistake each
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mistakes NAME runs one of them, compiled for the emulation; it must end
 * badly: with a message of the emulation's or the sanitizer's, by a signal,
 * or with the words "wrong result". "mistakes none" is right and ends well.
 */
#include "kernels/cuda/mma.cuh"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 128

/* Each thread writes its place and reads another's. */
__global__ void
reverse_kernel (int *y, const int *x, bool wait)
{
  __shared__ int shared[N];
  shared[threadIdx.x] = x[threadIdx.x];
  if (wait)
    __syncthreads ();
  y[threadIdx.x] = shared[N - 1 - threadIdx.x];
}

/* The same of a warp, whose lanes need not be in step. */
__global__ void
reverse_warp_kernel (int *y, const int *x)
{
  __shared__ int shared[WARP];
  shared[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = shared[WARP - 1 - threadIdx.x];
}

/* The second barrier of a loop keeps fast threads from overwriting what slow
 * ones still read. */
__global__ void
rounds_kernel (int *y, const int *x)
{
  __shared__ int shared[N];
  int sum = 0;
  for (int i = 0; i < 8; i++) {
    shared[threadIdx.x] = x[threadIdx.x] + i;
    __syncthreads ();
    sum += shared[N - 1 - threadIdx.x];
  }
  y[threadIdx.x] = sum;
}

__global__ void
divergent_barrier_kernel (int *y)
{
  if (threadIdx.x < N / 2)
    __syncthreads ();
  y[threadIdx.x] = 1;
}

__global__ void
divergent_shuffle_kernel (int *y)
{
  int x = threadIdx.x;
  if (threadIdx.x % 2)
    x = __shfl_xor_sync (0xffffffff, x, 1);
  y[threadIdx.x] = x;
}

__global__ void
copy_kernel (int *y, const int *x, int shift)
{
  y[threadIdx.x] = x[threadIdx.x + shift];
}

__global__ void
fill_kernel (int *y, int value)
{
  y[threadIdx.x] = value;
}

__global__ void
sum_kernel (float *y, const float *x)
{
  float sum = warp_sum (x[threadIdx.x]);
  if (threadIdx.x == 0)
    *y = sum;
}

__global__ void
shared_kernel (int *y, int count)
{
  DYNAMIC_SHARED (int, shared);
  shared[threadIdx.x] = 1;
  y[threadIdx.x] = shared[threadIdx.x + count];
}

/* Four numbers a thread by way of shared memory; sees them before or after it
 * has waited for them. */
__global__ void
async_kernel (int *y, const int *x, bool wait)
{
  __shared__ int4 shared[N / 4];
  int at = threadIdx.x;
  copy_async (shared_address (&shared[at]), &x[4 * at], true);
  if (wait)
    copies_wait ();
  ((int4 *) y)[at] = shared[at];
  copies_wait ();
}

/* Copies what an earlier kernel wrote, read before or after it has run; or does
 * not wait at all. */
__global__ void
early_kernel (int *y, const int *x, bool reads, bool waits)
{
  int seen = reads ? x[threadIdx.x] : 0;
  if (waits)
    wait_for_earlier ();
  y[threadIdx.x] = reads ? seen : x[threadIdx.x];
}

static cudaStream_t stream, other;
static cudaEvent_t event;
static int *x, *y, *host;

static void
end (bool right)
{
  printf ("%s\n", right ? "right result" : "wrong result");
  exit (right ? 0 : 3);
}

static void
fetch (cudaStream_t from)
{
  cudaMemcpyAsync (host, y, N * sizeof *y, cudaMemcpyDeviceToHost, from);
  cudaStreamSynchronize (from);
}

static void
start ()
{
  cudaStreamCreateWithFlags (&stream, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags (&other, cudaStreamNonBlocking);
  cudaEventCreateWithFlags (&event, cudaEventDisableTiming);
  cudaMalloc ((void **) &x, N * sizeof *x);
  cudaMalloc ((void **) &y, N * sizeof *y);
  cudaHostAlloc ((void **) &host, N * sizeof *host, cudaHostAllocDefault);
  for (int i = 0; i < N; i++)
    host[i] = i;
  cudaMemcpyAsync (x, host, N * sizeof *x, cudaMemcpyHostToDevice, stream);
  cudaStreamSynchronize (stream);
}

static void
reverse (bool wait)
{
  LAUNCH (reverse_kernel, 1, N, 0, stream, y, x, wait);
  fetch (stream);
  bool right = true;
  for (int i = 0; i < N; i++)
    right = right && host[i] == N - 1 - i;
  end (right);
}

static void
none ()
{
  reverse (true);
}

static void
missing_barrier ()
{
  reverse (false);
}

static void
missing_warp_barrier ()
{
  LAUNCH (reverse_warp_kernel, 1, WARP, 0, stream, y, x);
  fetch (stream);
  bool right = true;
  for (int i = 0; i < WARP; i++)
    right = right && host[i] == WARP - 1 - i;
  end (right);
}

static void
missing_second_barrier ()
{
  LAUNCH (rounds_kernel, 1, N, 0, stream, y, x);
  fetch (stream);
  bool right = true;
  for (int i = 0; i < N; i++)
    right = right && host[i] == 8 * (N - 1 - i) + 28;
  end (right);
}

static void
divergent_barrier ()
{
  LAUNCH (divergent_barrier_kernel, 1, N, 0, stream, y);
  fetch (stream);
}

static void
divergent_shuffle ()
{
  LAUNCH (divergent_shuffle_kernel, 1, N, 0, stream, y);
  fetch (stream);
}

static void
async_copy (bool wait)
{
  LAUNCH (async_kernel, 1, N / 4, 0, stream, y, x, wait);
  fetch (stream);
  end (host[5] == 5);
}

static void
awaited_copy ()
{
  async_copy (true);
}

static void
unawaited_copy ()
{
  async_copy (false);
}

static void
read_past_end ()
{
  LAUNCH (copy_kernel, 1, N, 0, stream, y, x, 1);
  fetch (stream);
  cudaFree (y);
  end (host[N - 1] == N);
}

static void
write_past_end ()
{
  LAUNCH (copy_kernel, 1, N, 0, stream, y + 1, x, 0);
  fetch (stream);
  cudaFree (y);
}

static void
read_past_shared ()
{
  LAUNCH (shared_kernel, 1, N, N * sizeof (int), stream, y, N);
  fetch (stream);
  end (host[0] == 1);
}

static void
use_after_free ()
{
  LAUNCH (copy_kernel, 1, N, 0, stream, y, x, 0);
  cudaFree (x);
  fetch (stream);
}

static void
uninitialised ()
{
  float *sum = (float *) y, *terms;
  cudaMalloc ((void **) &terms, WARP * sizeof *terms);
  LAUNCH (sum_kernel, 1, WARP, 0, stream, sum, terms);
  fetch (stream);
  float got;
  memcpy (&got, host, sizeof got);
  end (got == got);
}

static void
host_touches_device ()
{
  y[0] = 1;
}

static void
device_touches_host ()
{
  int local[N];
  LAUNCH (fill_kernel, 1, N, 0, stream, local, 1);
  fetch (stream);
}

/* Uploads on one stream, reads on another. */
static void
race (bool ordered)
{
  bool right = true;
  for (int round = 0; round < 20; round++) {
    LAUNCH (fill_kernel, 1, N, 0, other, x, round);
    if (ordered) {
      cudaEventRecord (event, other);
      cudaStreamWaitEvent (stream, event);
    }
    LAUNCH (copy_kernel, 1, N, 0, stream, y, x, 0);
    fetch (stream);
    right = right && host[0] == round;
  }
  end (right);
}

static void
stream_race ()
{
  race (false);
}

static void
ordered_streams ()
{
  race (true);
}

/* Pinned memory changed before the copy out of it is done. */
static void
staging_race ()
{
  host[0] = 1;
  cudaMemcpyAsync (x, host, N * sizeof *x, cudaMemcpyHostToDevice, stream);
  host[0] = 2;
  LAUNCH (copy_kernel, 1, N, 0, stream, y, x, 0);
  fetch (stream);
  end (host[0] == 1);
}

/* Pinned memory read before the copy into it is known to be done: nobody has
 * waited, or for what came before. */
static void
early_read (bool waits)
{
  LAUNCH (copy_kernel, 1, N, 0, stream, y, x, 0);
  cudaEventRecord (event, stream);
  cudaMemcpyAsync (host, y, N * sizeof *y, cudaMemcpyDeviceToHost, stream);
  if (waits)
    cudaEventSynchronize (event);
  end (host[5] == 5);
}

static void
unawaited_fetch ()
{
  early_read (false);
}

static void
half_awaited_fetch ()
{
  early_read (true);
}

struct Source {
  const int *x;
  int n;
};

__global__ void
copy_some_kernel (int *to, Source from)
{
  if ((int) threadIdx.x < from.n)
    to[threadIdx.x] = from.x[threadIdx.x];
}

/* A kernel that could read what has been freed. */
static void
struct_of_freed ()
{
  cudaStreamSynchronize (stream);
  cudaFree (x);
  LAUNCH (copy_some_kernel, 1, N, 0, stream, y, Source{ x, 0 });
  fetch (stream);
  end (true);
}

/* A graph of one copy, run twice; between, its source may be freed. */
static void
graph (bool frees)
{
  cudaGraph_t captured;
  cudaGraphExec_t exec;
  cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal);
  LAUNCH (copy_kernel, 1, N, 0, stream, y, x, 0);
  cudaStreamEndCapture (stream, &captured);
  cudaGraphInstantiate (&exec, captured, 0);
  cudaGraphLaunch (exec, stream);
  cudaStreamSynchronize (stream);
  if (frees)
    cudaFree (x);
  cudaGraphLaunch (exec, stream);
  fetch (stream);
  cudaGraphExecDestroy (exec);
  cudaGraphDestroy (captured);
  end (host[5] == 5);
}

static void
graph_of_freed ()
{
  graph (true);
}

static void
graph_twice ()
{
  graph (false);
}

/* Another stream joins the capture, and may not come back. */
static void
forked_capture (bool joins)
{
  cudaGraph_t captured;
  cudaEvent_t back;
  cudaEventCreateWithFlags (&back, cudaEventDisableTiming);
  cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal);
  LAUNCH (fill_kernel, 1, N, 0, stream, x, 7);
  cudaEventRecord (event, stream);
  cudaStreamWaitEvent (other, event);
  LAUNCH (copy_kernel, 1, N, 0, other, y, x, 0);
  cudaEventRecord (back, other);
  if (joins)
    cudaStreamWaitEvent (stream, back);
  if (cudaStreamEndCapture (stream, &captured) != cudaSuccess)
    end (false);
  cudaGraphExec_t exec;
  cudaGraphInstantiate (&exec, captured, 0);
  cudaGraphLaunch (exec, stream);
  LAUNCH (fill_kernel, 1, N, 0, other, x, 8); /* as before the capture */
  cudaStreamSynchronize (other);
  fetch (stream);
  cudaGraphExecDestroy (exec);
  cudaGraphDestroy (captured);
  end (host[0] == 7 || host[0] == 8);
}

static void
forked_and_joined ()
{
  forked_capture (true);
}

static void
forked_for_good ()
{
  forked_capture (false);
}

static void
wait_in_capture ()
{
  cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal);
  end (cudaStreamSynchronize (stream) == cudaSuccess);
}

/* A kernel that may begin while the one before it runs, in a stream or in a
 * graph. */
static void
early_launch (bool reads, bool waits, bool captured)
{
  bool right = true;
  for (int round = 0; round < 20; round++) {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    if (captured)
      cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal);
    LAUNCH (fill_kernel, 1, N, 0, stream, x, round);
    LAUNCH_AS (true, early_kernel, 2, N, 0, stream, y, x, reads, waits);
    if (captured) {
      cudaStreamEndCapture (stream, &graph);
      cudaGraphInstantiate (&exec, graph, 0);
      cudaGraphLaunch (exec, stream);
    }
    fetch (stream);
    right = right && host[0] == round;
    if (captured) {
      cudaGraphExecDestroy (exec);
      cudaGraphDestroy (graph);
    }
  }
  end (right);
}

static void
early_launches ()
{
  early_launch (false, true, false);
}

static void
early_launches_in_graph ()
{
  early_launch (false, true, true);
}

static void
early_read_of_result ()
{
  early_launch (true, true, false);
}

static void
early_read_in_graph ()
{
  early_launch (true, true, true);
}

static void
early_without_waiting ()
{
  early_launch (false, false, false);
}

/* Memory of the host that is not pinned, in a graph. */
static void
pageable_in_capture ()
{
  int local[N] = {};
  cudaStreamBeginCapture (stream, cudaStreamCaptureModeThreadLocal);
  end (cudaMemcpyAsync (y, local, sizeof local, cudaMemcpyHostToDevice,
           stream) == cudaSuccess);
}

/* The kernel's static arrays would have to lie in the same 48 KiB. */
static void
all_shared ()
{
  LAUNCH (shared_kernel, 1, N, 48 << 10, stream, y, 0);
  end (cudaGetLastError () == cudaSuccess);
}

static void
too_many_threads ()
{
  LAUNCH (fill_kernel, 1, 2048, 0, stream, y, 1);
  end (cudaGetLastError () == cudaSuccess);
}

static void
too_much_shared ()
{
  LAUNCH (shared_kernel, 1, N, 64 << 10, stream, y, 0);
  end (cudaGetLastError () == cudaSuccess);
}

static void
lowered_shared ()
{
  cudaFuncSetAttribute (
      shared_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10);
  cudaFuncSetAttribute (
      shared_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 56 << 10);
}

static const struct {
  const char *name;
  void (*run) ();
} mistakes[] = { { "none", none }, { "ordered-streams", ordered_streams },
  { "graph-twice", graph_twice }, { "missing-barrier", missing_barrier },
  { "missing-second-barrier", missing_second_barrier },
  { "missing-warp-barrier", missing_warp_barrier },
  { "divergent-barrier", divergent_barrier },
  { "divergent-shuffle", divergent_shuffle }, { "awaited-copy", awaited_copy },
  { "unawaited-copy", unawaited_copy }, { "read-past-end", read_past_end },
  { "write-past-end", write_past_end },
  { "read-past-shared", read_past_shared },
  { "use-after-free", use_after_free }, { "uninitialised", uninitialised },
  { "host-touches-device", host_touches_device },
  { "device-touches-host", device_touches_host },
  { "stream-race", stream_race }, { "staging-race", staging_race },
  { "unawaited-fetch", unawaited_fetch },
  { "half-awaited-fetch", half_awaited_fetch },
  { "early-launches", early_launches },
  { "early-launches-in-graph", early_launches_in_graph },
  { "early-read-of-result", early_read_of_result },
  { "early-read-in-graph", early_read_in_graph },
  { "early-without-waiting", early_without_waiting },
  { "forked-and-joined", forked_and_joined },
  { "forked-for-good", forked_for_good }, { "graph-of-freed", graph_of_freed },
  { "struct-of-freed", struct_of_freed },
  { "wait-in-capture", wait_in_capture },
  { "pageable-in-capture", pageable_in_capture }, { "all-shared", all_shared },
  { "too-many-threads", too_many_threads },
  { "too-much-shared", too_much_shared },
  { "lowered-shared", lowered_shared } };

int
main (int argc, char **argv)
{
  for (const auto &mistake : mistakes)
    if (argc > 1 && !strcmp (mistake.name, argv[1])) {
      start ();
      mistake.run ();
      return 0;
    }
  for (const auto &mistake : mistakes)
    printf ("%s\n", mistake.name);
  return 2;
}
