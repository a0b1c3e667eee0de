/* emu.h - what the sources of the CUDA emulation share
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The emulation lets the .cu files of kernels/cuda/ run on a processor: see
 * docs/kernels.md. One lock guards all of it; whatever the device would do
 * happens while a host thread waits for it, inside emu_drain.
 *
 * Environment:
 *   HIREDVLM_EMU_SEED        order of threads, blocks and streams [1]
 *   HIREDVLM_EMU_DRIVER      "missing" or "old": what the driver answers
 *   HIREDVLM_EMU_DEVICES     number of devices [1]
 *   HIREDVLM_EMU_CAPABILITY  compute capability [9.0]
 *   HIREDVLM_EMU_CODE        least one that the module has code for [any]
 *   HIREDVLM_EMU_MEMORY      MiB of each device [2048]
 *   HIREDVLM_EMU_LOSE_AFTER  the device is lost after so many launches [never]
 */
#pragma once

#include "cuda_runtime.h"

#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

/* Held by every call of the API. */
struct EmuLock {
  EmuLock ();
  ~EmuLock ();
};

/* Says what went wrong, and in which kernel, block and thread; aborts. */
[[noreturn]] void emu_die (const char *format, ...)
    __attribute__ ((format (printf, 1, 2)));

/* Uniform in 0 .. bound-1; from HIREDVLM_EMU_SEED. */
unsigned emu_random (unsigned bound);

/* Value of an environment variable, or `fallback`. */
long emu_setting (const char *name, long fallback);

/* ---- device.cpp ---- */

int emu_n_devices ();
int emu_current_device ();

/* What cudaSetDevice tells the driver, if there is one. */
extern void (*emu_device_was_set) (int device);

/* The error that calls return from now on. */
cudaError_t emu_fail (cudaError_t error);
cudaError_t emu_status ();

/* ---- block.cpp ---- */

/* Runs a kernel: blocks one after another, in a shuffled order, those that
 * have begun from where they wait. */
struct EmuBegun;
void emu_run_grid (const EmuLaunch &launch, EmuBegun *begun);

/* Lets a block or two run up to where they wait for earlier kernels. What has
 * begun goes on in emu_run_grid, or is dropped (NULL is nothing). */
EmuBegun *emu_begin_grid (const EmuLaunch &launch);
void emu_drop_grid (EmuBegun *begun);

/* "kernel rms_norm, block 0 1 0, thread 3 0 0", or "". */
std::string emu_where ();

/* ---- pipeline.cpp ---- */

/* Whether a thread has copies on their way; dies if so. */
bool emu_has_copies (int number);
void emu_check_copies (int number);

/* ---- memory.cpp ---- */

/* While a kernel or copy runs, device memory may be touched; otherwise not. */
void emu_open_memory (bool open);

/* Dies unless bytes at ptr lie in one living allocation of the device
 * (`pinned`: or of pinned host memory). */
void emu_check_range (
    const void *ptr, size_t bytes, bool pinned, const char *what);

/* Device memory of a context that is not the primary one (NULL: of that one).
 * Kernels cannot touch it. */
cudaError_t emu_allocate_in (
    const void *context, int device, void **ptr, size_t bytes);

/* Lets a copy touch the memory around ptr if it is of such a context. */
void emu_open_foreign (const void *ptr, bool open);

/* The device that memory is of, -1 if it is of none, and its context. */
int emu_owner (const void *ptr, const void **context);

/* cudaMemcpyAsync, whosever src is; that takes memory of the stream's device
 * and its primary context only. */
cudaError_t emu_copy (void *dst, const void *src, size_t bytes,
    cudaMemcpyKind kind, cudaStream_t stream);

/* One copy more (1) or less (-1) on its way into pinned memory around ptr,
 * which nobody can touch before it is there; a copy opens it for itself. */
void emu_pend (const void *ptr, int change);
void emu_open_pinned (const void *ptr, bool open);

/* Whether ptr points into memory of the kind, alive or freed. */
bool emu_is_device (const void *ptr);
bool emu_is_pinned (const void *ptr);

/* ---- stream.cpp ---- */

/* One thing a stream does. */
struct EmuOp {
  std::string name;
  std::function<void ()> run;
  std::function<bool ()> ready; /* none: at once */
  bool is_kernel;
  std::function<void ()> begin; /* none, or what can be done before `run` while
                                 * a kernel before it has not run */
};

/* Runs op, a kernel perhaps after those that follow it have begun. */
void emu_run_op (EmuOp &op, const std::function<EmuOp *(int)> &follower);

/* Onto a stream, or into the graph that it is captured into. */
void emu_enqueue (cudaStream_t stream, EmuOp op);

/* Runs streams in a shuffled order until `done`. */
void emu_drain (const std::function<bool ()> &done);

/* ---- graph.cpp ---- */

/* An operation of a graph and those that must come before it. */
struct EmuNode {
  EmuOp op;
  std::vector<size_t> after;
};

struct CUgraph_st {
  std::vector<EmuNode> nodes;
};

/* A capture going on, and the streams that have joined it. */
struct EmuCapture {
  cudaStream_t origin;
  cudaGraph_t graph;
  cudaError_t status;
  std::thread::id thread;
  bool local; /* other threads may allocate and wait meanwhile */
};

struct CUstream_st {
  int device;
  std::deque<EmuOp> queue;
  EmuCapture *capture;
  std::vector<size_t> last; /* nodes of the capture that come before */
};

struct CUevent_st {
  bool timed;
  unsigned long recorded, completed; /* counts of records */
  double completed_ms;               /* of the clock, when it last was */
  EmuCapture *capture;
  std::vector<size_t> last;
};

/* Its streams are as they were before it. */
void emu_leave_capture (const EmuCapture *capture);

/* Refuses what this thread may not do while something is captured: allocating,
 * freeing, waiting. */
cudaError_t emu_refuse_in_capture ();
