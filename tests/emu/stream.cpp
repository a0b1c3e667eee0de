/* stream.cpp - streams and events: queues run in a shuffled order
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A stream does nothing until a host thread waits for something. Then any
 * stream whose next operation may run is drawn, again and again, so that two
 * streams that no event orders meet in many orders.
 */
#include "tests/emu/emu.h"

#include <chrono>
#include <map>
#include <memory>

/* Dynamic shared memory that a kernel may use without asking: 48 KiB are for
 * that and its static arrays, whose size is not known here. */
#define UNASKED_SHARED (47 * 1024)
#define MAX_THREADS 1024
#define MAX_GRID_YZ 65535
#define MOST_BEGUN 2 /* kernels behind the one that runs */

static std::vector<cudaStream_t> streams;
static std::map<std::pair<const void *, int>, size_t>
    shared_limits; /* by kernel and device */

static std::vector<cudaStream_t>
runnable ()
{
  std::vector<cudaStream_t> list;
  for (cudaStream_t stream : streams)
    if (!stream->queue.empty () &&
        (emu_status () || !stream->queue.front ().ready ||
            stream->queue.front ().ready ()))
      list.push_back (stream);
  return list;
}

/* What begins is drawn. */
void
emu_run_op (EmuOp &op, const std::function<EmuOp *(int)> &follower)
{
  const EmuOp *before = &op;
  for (int i = 0; i < MOST_BEGUN; i++) {
    EmuOp *next = before->is_kernel ? follower (i) : NULL;
    if (!next || !next->begin || emu_random (3))
      break;
    next->begin ();
    before = next;
  }
  op.run ();
}

static void
run_one (cudaStream_t stream)
{
  EmuOp op = std::move (stream->queue.front ());
  stream->queue.pop_front ();
  if (!emu_status ())
    emu_run_op (op, [stream] (int i) {
      return (size_t) i < stream->queue.size () ? &stream->queue[(size_t) i]
                                                : NULL;
    });
}

void
emu_drain (const std::function<bool ()> &done)
{
  if (done ())
    return;
  emu_open_memory (true);
  while (!done ()) {
    std::vector<cudaStream_t> list = runnable ();
    if (list.empty ())
      emu_die ("a stream waits for an event that nothing will record");
    run_one (list[emu_random ((unsigned) list.size ())]);
  }
  emu_open_memory (false);
}

void
emu_enqueue (cudaStream_t stream, EmuOp op)
{
  if (!stream)
    emu_die ("%s: the default stream is not used here", op.name.c_str ());
  if (!stream->capture) {
    stream->queue.push_back (std::move (op));
    return;
  }
  std::vector<EmuNode> &nodes = stream->capture->graph->nodes;
  nodes.push_back ({ std::move (op), stream->last });
  stream->last = { nodes.size () - 1 };
}

/* ---- kernels ---- */

static bool
fits (const EmuLaunch &launch)
{
  const dim3 &g = launch.grid, &b = launch.block;
  auto limit = shared_limits.find ({ launch.kernel, emu_current_device () });
  size_t shared =
      limit == shared_limits.end () ? UNASKED_SHARED : limit->second;
  return g.x && g.y && g.z && b.x && b.y && b.z && g.y <= MAX_GRID_YZ &&
         g.z <= MAX_GRID_YZ && (size_t) b.x * b.y * b.z <= MAX_THREADS &&
         launch.shared <= shared;
}

/* A word of a struct is a pointer if it leads to memory of ours. */
static void
check_pointers (const EmuLaunch &launch)
{
  std::string what = std::string ("argument of kernel ") + launch.name;
  for (const void *ptr : launch.pointers)
    if (ptr)
      emu_check_range (ptr, 0, emu_is_pinned (ptr), what.c_str ());
  for (const void *word : launch.words)
    if (emu_is_device (word) || emu_is_pinned (word))
      emu_check_range (word, 0, emu_is_pinned (word), what.c_str ());
}

/* A launch, and those of its blocks that have begun, if any. */
struct Kernel {
  EmuLaunch launch;
  EmuBegun *begun;
  ~Kernel ()
  {
    emu_drop_grid (begun);
  }
};

static EmuOp
op_of (EmuLaunch launch)
{
  std::shared_ptr<Kernel> kernel (new Kernel{ std::move (launch), NULL });
  EmuOp op = { kernel->launch.name, {}, {}, true, {} };
  op.run = [kernel] {
    check_pointers (kernel->launch);
    emu_run_grid (kernel->launch, std::exchange (kernel->begun, nullptr));
  };
  if (kernel->launch.early)
    op.begin = [kernel] {
      check_pointers (kernel->launch);
      if (!kernel->begun)
        kernel->begun = emu_begin_grid (kernel->launch);
    };
  return op;
}

void
emu_launch (cudaStream_t stream, EmuLaunch launch)
{
  static long left = emu_setting ("HIREDVLM_EMU_LOSE_AFTER", -1);
  EmuLock lock;
  if (stream && stream->device != emu_current_device ())
    emu_die ("kernel %s: its stream is another device's", launch.name);
  if (left >= 0 && left-- == 0)
    emu_fail (cudaErrorLaunchFailure);
  if (!fits (launch)) {
    emu_fail (cudaErrorInvalidConfiguration);
    return;
  }
  emu_enqueue (stream, op_of (std::move (launch)));
}

cudaError_t
emu_func_set_attribute (const void *func, cudaFuncAttribute, int value)
{
  EmuLock lock;
  cudaDeviceProp prop;
  cudaGetDeviceProperties (&prop, emu_current_device ());
  if ((size_t) value > prop.sharedMemPerBlockOptin)
    return emu_fail (cudaErrorInvalidValue);
  size_t &limit = shared_limits[{ func, emu_current_device () }];
  if ((size_t) value < std::max<size_t> (limit, UNASKED_SHARED))
    emu_die ("cudaFuncSetAttribute: %d bytes of shared memory are less than "
             "before, and another thread may launch with those",
        value);
  limit = value;
  return cudaSuccess;
}

/* ---- copies ---- */

static void
check_copy (const void *ptr, size_t bytes, bool device)
{
  if (device || emu_is_pinned (ptr))
    emu_check_range (ptr, bytes, !device, "cudaMemcpyAsync");
  else if (emu_is_device (ptr))
    emu_die ("cudaMemcpyAsync: %p is device memory", ptr);
}

/* What kernels or the host cannot touch now, a copy can. */
static void
open_copy (const void *dst, const void *src, bool open)
{
  emu_open_foreign (src, open);
  emu_open_pinned (src, open);
  emu_open_pinned (dst, open);
}

cudaError_t
cudaMemcpyAsync (void *dst, const void *src, size_t bytes, cudaMemcpyKind kind,
    cudaStream_t stream)
{
  EmuLock lock;
  const void *context = NULL;
  int device = emu_owner (src, &context);
  if (context || (device >= 0 && device != stream->device))
    emu_die ("cudaMemcpyAsync: %p is another context's memory", src);
  return emu_copy (dst, src, bytes, kind, stream);
}

/* What is read from pageable memory is read at once, what is written to it is
 * there when the call returns; pinned memory is touched when its turn comes,
 * and not before by the host if it is written to. */
cudaError_t
emu_copy (void *dst, const void *src, size_t bytes, cudaMemcpyKind kind,
    cudaStream_t stream)
{
  EmuLock lock;
  bool to_device = kind == cudaMemcpyHostToDevice ||
                   kind == cudaMemcpyDeviceToDevice ||
                   (kind == cudaMemcpyDefault && emu_is_device (dst));
  bool from_device = kind == cudaMemcpyDeviceToHost ||
                     kind == cudaMemcpyDeviceToDevice ||
                     (kind == cudaMemcpyDefault && emu_is_device (src));
  check_copy (dst, bytes, to_device);
  check_copy (src, bytes, from_device);
  bool pageable = (!from_device && !emu_is_pinned (src)) ||
                  (!to_device && !emu_is_pinned (dst));
  if (pageable && stream->capture)
    if (cudaError_t error = emu_refuse_in_capture ())
      return error;
  if (!from_device && !emu_is_pinned (src)) {
    std::string copy ((const char *) src, bytes);
    emu_enqueue (stream, { "copy", [dst, copy] {
                            check_copy (dst, copy.size (), true);
                            memcpy (dst, copy.data (), copy.size ());
                          } });
    return emu_status ();
  }
  bool fetches = from_device && emu_is_pinned (dst) && !stream->capture;
  if (fetches)
    emu_pend (dst, 1);
  emu_enqueue (stream, { "copy", [=] {
                          check_copy (dst, bytes, to_device);
                          check_copy (src, bytes, from_device);
                          open_copy (dst, src, true);
                          memcpy (dst, src, bytes);
                          open_copy (dst, src, false);
                          if (fetches)
                            emu_pend (dst, -1);
                        } });
  if (from_device && !to_device && !emu_is_pinned (dst))
    return cudaStreamSynchronize (stream);
  return emu_status ();
}

cudaError_t
cudaMemsetAsync (void *dst, int value, size_t bytes, cudaStream_t stream)
{
  EmuLock lock;
  check_copy (dst, bytes, true);
  emu_enqueue (stream, { "memset", [=] {
                          check_copy (dst, bytes, true);
                          memset (dst, value, bytes);
                        } });
  return emu_status ();
}

/* ---- streams ---- */

cudaError_t
cudaStreamCreateWithFlags (cudaStream_t *stream, unsigned)
{
  EmuLock lock;
  *stream = new CUstream_st{ emu_current_device (), {}, NULL, {} };
  streams.push_back (*stream);
  return emu_status ();
}

cudaError_t
cudaStreamDestroy (cudaStream_t stream)
{
  EmuLock lock;
  emu_drain ([stream] { return stream->queue.empty (); });
  for (size_t i = 0; i < streams.size (); i++)
    if (streams[i] == stream)
      streams.erase (streams.begin () + (long) i);
  delete stream;
  return emu_status ();
}

void
emu_leave_capture (const EmuCapture *capture)
{
  for (cudaStream_t stream : streams)
    if (stream->capture == capture) {
      stream->capture = NULL;
      stream->last.clear ();
    }
}

cudaError_t
cudaStreamSynchronize (cudaStream_t stream)
{
  EmuLock lock;
  if (cudaError_t error = emu_refuse_in_capture ())
    return error;
  emu_drain ([stream] { return stream->queue.empty (); });
  return emu_status ();
}

cudaError_t
cudaDeviceSynchronize ()
{
  EmuLock lock;
  if (cudaError_t error = emu_refuse_in_capture ())
    return error;
  for (size_t i = 0; i < streams.size (); i++)
    emu_drain ([i] { return streams[i]->queue.empty (); });
  return emu_status ();
}

/* ---- events ---- */

static double
now_ms ()
{
  return std::chrono::duration<double, std::milli> (
      std::chrono::steady_clock::now ().time_since_epoch ())
      .count ();
}

cudaError_t
cudaEventCreateWithFlags (cudaEvent_t *event, unsigned flags)
{
  *event = new CUevent_st{};
  (*event)->timed = flags != cudaEventDisableTiming;
  return cudaSuccess;
}

cudaError_t
cudaEventDestroy (cudaEvent_t event)
{
  EmuLock lock;
  emu_drain (
      [event] { return event->completed == event->recorded || emu_status (); });
  delete event;
  return cudaSuccess;
}

cudaError_t
cudaEventRecord (cudaEvent_t event, cudaStream_t stream)
{
  EmuLock lock;
  event->capture = stream->capture;
  if (stream->capture) {
    event->last = stream->last;
    return cudaSuccess;
  }
  unsigned long count = ++event->recorded;
  emu_enqueue (stream, { "event", [event, count] {
                          event->completed = count;
                          event->completed_ms = now_ms ();
                        } });
  return emu_status ();
}

cudaError_t
cudaStreamWaitEvent (cudaStream_t stream, cudaEvent_t event, unsigned)
{
  EmuLock lock;
  if (event->capture) {
    stream->capture = event->capture;
    stream->last.insert (
        stream->last.end (), event->last.begin (), event->last.end ());
    return cudaSuccess;
  }
  unsigned long count = event->recorded;
  emu_enqueue (stream,
      { "wait", [] {}, [event, count] { return event->completed >= count; } });
  return emu_status ();
}

cudaError_t
cudaEventSynchronize (cudaEvent_t event)
{
  EmuLock lock;
  if (cudaError_t error = emu_refuse_in_capture ())
    return error;
  unsigned long count = event->recorded;
  emu_drain ([=] { return event->completed >= count || emu_status (); });
  return emu_status ();
}

/* The device may have got on a little since the last call. */
cudaError_t
cudaEventQuery (cudaEvent_t event)
{
  EmuLock lock;
  unsigned steps = emu_random (4);
  emu_drain ([&] { return steps-- == 0 || runnable ().empty (); });
  bool done = event->completed >= event->recorded || emu_status ();
  return done ? emu_status () : cudaErrorNotReady;
}

cudaError_t
cudaEventElapsedTime (float *ms, cudaEvent_t start, cudaEvent_t end)
{
  EmuLock lock;
  if (!start->timed || !end->timed || !start->recorded || !end->recorded)
    return emu_fail (cudaErrorInvalidResourceHandle);
  if (emu_status ())
    return emu_status ();
  if (start->completed < start->recorded || end->completed < end->recorded)
    return cudaErrorNotReady;
  *ms = (float) (end->completed_ms - start->completed_ms);
  return cudaSuccess;
}
