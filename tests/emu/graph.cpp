/* graph.cpp - streams captured into graphs, and graphs run
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A graph runs in any order that its edges allow. Its kernels' pointers are
 * looked at again in each run: memory that has been freed since is seen.
 */
#include "tests/emu/emu.h"

#include <algorithm>

struct CUgraphExec_st {
  std::vector<EmuNode> nodes;
};

static std::vector<EmuCapture *> captures;

cudaError_t
emu_refuse_in_capture ()
{
  EmuLock lock;
  bool any = false;
  for (EmuCapture *capture : captures)
    if (!capture->local || capture->thread == std::this_thread::get_id ()) {
      capture->status = cudaErrorStreamCaptureInvalidated;
      any = true;
    }
  return any ? emu_fail (cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

/* The node that comes after `before` and nothing else. */
static EmuOp *
only_after (std::vector<EmuNode> &nodes, size_t before)
{
  for (EmuNode &node : nodes)
    if (node.after.size () == 1 && node.after[0] == before)
      return &node.op;
  return NULL;
}

static void
run_nodes (std::vector<EmuNode> nodes)
{
  std::vector<bool> done (nodes.size ());
  for (size_t n_done = 0; n_done < nodes.size (); n_done++) {
    std::vector<size_t> free;
    for (size_t i = 0; i < nodes.size (); i++) {
      bool waits = done[i];
      for (size_t before : nodes[i].after)
        waits = waits || !done[before];
      if (!waits)
        free.push_back (i);
    }
    size_t next = free[emu_random ((unsigned) free.size ())];
    /* Captured in the order of a stream, a chain's nodes are neighbours. */
    emu_run_op (nodes[next].op, [&nodes, next] (int i) {
      return only_after (nodes, next + (size_t) i);
    });
    done[next] = true;
  }
}

cudaError_t
cudaStreamBeginCapture (cudaStream_t stream, cudaStreamCaptureMode mode)
{
  EmuLock lock;
  if (stream->capture)
    return emu_fail (cudaErrorStreamCaptureUnsupported);
  stream->capture = new EmuCapture{ stream, new CUgraph_st, cudaSuccess,
    std::this_thread::get_id (), mode != cudaStreamCaptureModeGlobal };
  stream->last.clear ();
  captures.push_back (stream->capture);
  return emu_status ();
}

/* Whether all that was captured comes before what the origin would do next. */
static bool
is_joined (const EmuCapture *capture)
{
  const std::vector<EmuNode> &nodes = capture->graph->nodes;
  std::vector<bool> awaited (nodes.size ());
  for (const EmuNode &node : nodes)
    for (size_t before : node.after)
      awaited[before] = true;
  for (size_t last : capture->origin->last)
    awaited[last] = true;
  return std::find (awaited.begin (), awaited.end (), false) == awaited.end ();
}

cudaError_t
cudaStreamEndCapture (cudaStream_t stream, cudaGraph_t *graph)
{
  EmuLock lock;
  EmuCapture *capture = stream->capture;
  *graph = NULL;
  if (!capture || capture->origin != stream)
    return emu_fail (cudaErrorStreamCaptureUnsupported);
  for (size_t i = 0; i < captures.size (); i++)
    if (captures[i] == capture)
      captures.erase (captures.begin () + (long) i);
  cudaError_t status = capture->status;
  if (!status && !is_joined (capture))
    status = cudaErrorStreamCaptureUnjoined;
  emu_leave_capture (capture);
  if (status)
    delete capture->graph;
  else
    *graph = capture->graph;
  delete capture;
  return status ? emu_fail (status) : emu_status ();
}

cudaError_t
cudaGraphDestroy (cudaGraph_t graph)
{
  delete graph;
  return cudaSuccess;
}

cudaError_t
cudaGraphInstantiate (
    cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
  *exec = new CUgraphExec_st{ graph->nodes };
  return emu_status ();
}

cudaError_t
cudaGraphExecDestroy (cudaGraphExec_t exec)
{
  delete exec;
  return cudaSuccess;
}

cudaError_t
cudaGraphLaunch (cudaGraphExec_t exec, cudaStream_t stream)
{
  EmuLock lock;
  std::vector<EmuNode> nodes = exec->nodes;
  emu_enqueue (
      stream, { "graph", [nodes = std::move (nodes)] { run_nodes (nodes); } });
  return emu_status ();
}
